"""Messages for the inbound path: real ones spoilt, answers with one thing wrong, and plain bytes.

Bytes alone would hardly get past the first check. So most inputs keep the shape of what devices
say, name commands that are open, and come from a device that is another one now and then.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from traffic.messages import MESSAGES
from traffic.mutations import VALUES, Spoilt, spoil, spoil_bytes

from dockgate_server.codec import catalogue
from dockgate_server.codec.topics import Up
from dockgate_server.model.command import Channel, Command

GATEWAYS: Final = ("dock-001", "dock-002", "rc-001")
STRANGERS: Final = (
    *("drone-001", "dock-003", "", " ", "x" * 64, "x" * 65, "x" * 20_000),
    *("$SYS", "%u", "dock-001\0", "dock-001 ", "DOCK-001", "\U0001f6f8", "'; --"),
)
"""Whose name stands in a topic, beside those of the docks."""

TOPICS: Final = (
    *("", "/", "//", "thing", "thing/product", "thing/product/dock-001", "sys/product//status"),
    *("thing/product/dock-001/services", "thing/product/dock-001/osd/more", "$share/g/thing/#"),
    *("thing/product/+/events", "thing/product/dock-001/EVENTS", "sys/product/dock-001/osd"),
)
"""What the gateway has not subscribed to, or what is no topic."""

ASKED: Final = (
    *("config", "airport_bind_status", "airport_organization_get", "airport_organization_bind"),
    *("flight_areas_get", "offline_map_get", "storage_config_get", "flighttask_resource_get"),
    *("flighttask_progress_get", "a_newer_request"),
)
WORDS: Final = ("ok", "failed", "in_progress", "canceled", "paused", "timeout", "sent", "", None)
REPLIED_ON: Final = {
    Channel.SERVICES: Up.SERVICES_REPLY,
    Channel.PROPERTY_SET: Up.SET_REPLY,
    Channel.DRC: Up.DRC_UP,
}

Draw = random.Random


def draw(rng: Draw, commands: Sequence[Command]) -> tuple[str, Spoilt]:
    """What kind of message it is, and the message: its topic and its payload."""
    kind = rng.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
    topic, content = _KINDS[kind][1](rng, commands)
    if rng.random() < 0.05:
        content = spoil_bytes(rng, content)
    if rng.random() < 0.01:
        topic = rng.choice(TOPICS)
    return kind, (topic, content)


def topic_of(up: Up, serial_number: str) -> str:
    """A device's topic."""
    return up.value.replace("+", serial_number)


def _traffic(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    return spoil(rng, rng.choice(MESSAGES))


def _answer(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    """The answer to a command, in half of all cases with something wrong."""
    command = rng.choice(commands)
    up, gateway_id = REPLIED_ON[command.channel], command.gateway_id
    content: dict[str, Any] = {
        "tid": command.id,
        "bid": command.id,
        "method": command.command_type,
        "data": _result(rng, command),
        "timestamp": 1_776_859_201_000,
    }
    if command.channel is Channel.DRC:
        content = {"method": command.command_type, "seq": command.seq, "data": content["data"]}
    if rng.random() < 0.5:
        match rng.randrange(5):
            case 0:
                gateway_id = _somebody(rng)
            case 1:
                up = rng.choice(list(Up))
            case 2:
                content[rng.choice(list(content))] = rng.choice(VALUES)
            case 3:
                content["method"] = rng.choice(list(catalogue.METHODS))
            case 4:
                content.pop(rng.choice(list(content)))
    return topic_of(up, gateway_id), _json(content)


def _result(rng: Draw, command: Command) -> Any:
    value: Any = rng.choice((0, 0, 0, "0", 0.0, 1, 314_000, -1, *VALUES))
    result: dict[str, Any] = {rng.choice(("result", "result", "result", "code")): value}
    if command.channel is Channel.PROPERTY_SET and rng.random() < 0.8:
        return {command.command_type: result}
    if rng.random() < 0.3:
        result["output"] = {"status": rng.choice(WORDS), **_progress(rng)}
    return result


def _progress(rng: Draw) -> dict[str, Any]:
    percent = rng.choice((0, 1, 50, 100, 101, -1, "50", *VALUES))
    return {"progress": {"percent": percent, "current_step": rng.choice((0, 7, *VALUES))}}


def _event(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    """Of a job, of a command's own or of one that nobody started."""
    command = rng.choice(commands)
    key = rng.choice((command.id, command.job_key, "flight-001", *VALUES))
    output = {"status": rng.choice(WORDS), "ext": {"flight_id": key}, **_progress(rng)}
    data: Any = {"result": rng.choice((0, 1, *VALUES)), "output": output, "flight_id": key}
    content = {
        "tid": rng.choice((command.id, str(rng.randrange(20)), "0", *VALUES)),
        "bid": key,
        "method": rng.choice((*sorted(catalogue.PROGRESS), "hms", command.command_type)),
        "need_reply": rng.choice((0, 1, "1", *VALUES)),
        "data": rng.choice((data, data, data, *VALUES)),
    }
    return topic_of(Up.EVENTS, _somebody(rng)), _json(content)


def _request(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    device = {
        "sn": _somebody(rng),
        "device_binding_code": rng.choice(("binding-001", *VALUES)),
        "organization_id": rng.choice(("organization-001", *VALUES)),
        "device_callsign": rng.choice(("A name", *VALUES)),
    }
    data: Any = {
        "devices": [
            rng.choice((device, device["sn"], *VALUES)) for _ in range(rng.choice((1, 50)))
        ],
        "bind_devices": [device] * rng.choice((0, 1, 2, 300)),
        "flight_id": rng.choice(("flight-001", *VALUES)),
        "module": rng.choice((0, 1, *VALUES)),
        **device,
    }
    content = {
        "tid": rng.choice((str(rng.randrange(50)), "x" * 201, *VALUES)),
        "bid": rng.choice(("b", *VALUES)),
        "method": rng.choice(ASKED),
        "data": rng.choice((data, data, data, *VALUES)),
    }
    return topic_of(Up.REQUESTS, _somebody(rng)), _json(content)


def _topology(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    named = [_somebody(rng) for _ in range(rng.choice((0, 1, 2, 1000)))]
    subs: list[Any] = [{"sn": sn, "domain": 0, "type": 67, "sub_type": 0} for sn in named]
    if len(named) > 2:
        subs = [{**sub, "sn": f"made-up-{rng.random()}"} for sub in subs]
    content: dict[str, Any] = {
        "method": "update_topo",
        "data": {"domain": rng.choice((3, "3", *VALUES)), "sub_devices": subs},
    }
    if rng.random() < 0.8:  # without it is a last will
        content |= {"tid": str(rng.random()), "bid": "b", "timestamp": 1}
    return topic_of(Up.STATUS, _somebody(rng)), _json(content)


def _telemetry(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    members = rng.choice((1, 5, 2000))
    data: Any = {f"m{rng.randrange(10**9)}": rng.choice(VALUES) for _ in range(members)}
    up = rng.choice((Up.OSD, Up.STATE))
    return topic_of(up, _somebody(rng)), _json({"tid": "t", "data": rng.choice((data, *VALUES))})


def _bytes(rng: Draw, commands: Sequence[Command]) -> Spoilt:
    size = rng.choice((0, 1, 8, 200, 300_000 if rng.random() < 0.02 else 1000))
    content = rng.choice((rng.randbytes(size), b"[" * size, b'{"a":' * size, b"9" * size))
    return topic_of(rng.choice(list(Up)), _somebody(rng)), content


def _somebody(rng: Draw) -> str:
    return rng.choice(GATEWAYS if rng.random() < 0.85 else STRANGERS)


def _json(content: Any) -> bytes:
    # Not orjson, which refuses what others write: lone surrogates and endless integers.
    return json.dumps(content).encode()


_KINDS: Final[dict[str, tuple[int, Callable[[Draw, Sequence[Command]], Spoilt]]]] = {
    "spoilt traffic": (25, _traffic),
    "answers": (30, _answer),
    "events": (15, _event),
    "requests": (10, _request),
    "topologies": (4, _topology),
    "telemetry": (8, _telemetry),
    "bytes": (8, _bytes),
}
"""With how often each is drawn."""
