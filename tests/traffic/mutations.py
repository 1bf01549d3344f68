"""What may become of a message on its way: each a way to spoil it, drawn from a seed."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from dockgate_server.codec import topics
from traffic.messages import MESSAGES, Message

Spoilt = tuple[str, bytes]
"""Topic and payload."""

Place = tuple[Any, Any]
"""A dict or list, and the key or index in it."""

VALUES: Final = (
    *(None, True, False, 0, 1, -1, 0.5, 1e308, 2**63, -(2**63) - 1, 10**40),
    *("", "0", "1", " 0 ", "x", "ok", "\0", "\U0001f6f8", "\ud800", "null", "{}", "../../etc"),
    *([], [[]], [0], {}, {"": None}, {"result": 0}, {"output": {"status": "ok"}}),
)
"""What stands where something else should."""

NAMES: Final = ("tid", "bid", "method", "data", "result", "output", "status", "seq", "timestamp:")
"""What a member is called that has another name."""

UP: Final = tuple(up.value for up in topics.Up)


def spoil(rng: random.Random, message: Message) -> Spoilt:
    """A message with one to three things wrong, on its own topic or on any that the gateway reads.

    Those that it does not read would not reach it, so they always go somewhere else.
    """
    payload: Any = json.loads(message.content)
    for _ in range(rng.randint(1, 3)):
        payload = rng.choice(_SHAPES)(rng, payload)
    content = json.dumps(payload, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    if rng.random() < 0.3:
        content = spoil_bytes(rng, content)
    topic = message.topic
    if topics.parse(topic) is None or rng.random() < 0.3:
        topic = rng.choice(UP).replace("+", message.gateway_id)
    return topic, content


def spoil_bytes(rng: random.Random, content: bytes) -> bytes:
    """A payload that is no longer what was written."""
    return rng.choice(_BYTES)(rng, content)


def patiently_read(content: bytes) -> Any:
    """What the most patient reader makes of a payload; None where nobody could read it.

    Whole numbers are texts: they may be endless.
    """
    decoder = json.JSONDecoder(strict=False, parse_int=str)
    try:
        value, _ = decoder.raw_decode(content.decode(errors="replace").lstrip("\ufeff \t\r\n"))
    except (ValueError, RecursionError):
        return None
    return value


def _without(rng: random.Random, payload: Any) -> Any:
    place, key = _somewhere(rng, payload)
    if place is not None:
        del place[key]
    return payload


def _retyped(rng: random.Random, payload: Any) -> Any:
    place, key = _somewhere(rng, payload)
    value = copy.deepcopy(rng.choice(VALUES))  # it may be spoilt in its turn
    if place is None:
        return value
    place[key] = value
    return payload


def _renamed(rng: random.Random, payload: Any) -> Any:
    place, key = _somewhere(rng, payload)
    if isinstance(place, dict):
        place[rng.choice((*NAMES, key.upper(), f"{key}:", f" {key}", ""))] = place.pop(key)
    return payload


def _nested(rng: random.Random, payload: Any) -> Any:
    levels = rng.choice((1, 2, 19, 20, 21, 200))
    place, key = _somewhere(rng, payload)
    value = payload if place is None else place[key]
    for _ in range(levels):
        value = rng.choice(([value], {"data": value}))
    if place is None:
        return value
    place[key] = value
    return payload


def _huge(rng: random.Random, payload: Any) -> Any:
    place, key = _somewhere(rng, payload)
    size = rng.choice((300, 20_000))
    value = rng.choice(("x" * size, "9" * size, [0] * size, {str(n): n for n in range(size // 10)}))
    if place is None:
        return value
    place[key] = value
    return payload


def _mixed(rng: random.Random, payload: Any) -> Any:
    """With a member of another message."""
    other = json.loads(rng.choice(MESSAGES).content)
    name = rng.choice(list(other))
    return payload | {name: other[name]} if isinstance(payload, dict) else other


def _truncated(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _twice(rng: random.Random, content: bytes) -> bytes:
    return content + content[: rng.randrange(len(content) + 1)]


def _no_text(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice(
        (b"\xff", b"\xc3\x28", b"\0", b"\xed\xa0\x80", b"\xef\xbb\xbf")
    )


def _flipped(rng: random.Random, content: bytes) -> bytes:
    spoilt = bytearray(content)
    for _ in range(rng.randint(1, 4) if spoilt else 0):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _said_twice(rng: random.Random, content: bytes) -> bytes:
    """An object that has one of its members twice."""
    value = json.dumps(rng.choice(VALUES[:10])).encode()
    return content.replace(b"{", b'{"%s":%s,' % (rng.choice(NAMES).encode(), value), 1)


_SHAPES: Final[tuple[Callable[[random.Random, Any], Any], ...]] = (
    *(_without, _retyped, _retyped, _renamed, _nested, _huge, _mixed),
)
_BYTES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    *(_truncated, _twice, _no_text, _flipped, _said_twice),
)


def _somewhere(rng: random.Random, payload: Any) -> Place:
    """Any place in it, mostly near the top; (None, None) where there is none."""
    places = list(_places(payload, levels=rng.choice((1, 1, 2, 6))))
    return rng.choice(places) if places else (None, None)


def _places(value: Any, levels: int) -> Iterator[Place]:
    if not levels or not isinstance(value, dict | list):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        yield from _places(value[key], levels - 1)
