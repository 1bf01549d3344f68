"""Reading a request's body, and the JSON in it, strictly."""

import asyncio
import json
from typing import Any, NoReturn

import orjson
from aiohttp import HttpVersion11, web

from dockgate_server import errors
from dockgate_server.codec import envelope
from dockgate_server.errors import DockgateError, Reason

_JSON = "application/json"
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


def check_length(request: web.BaseRequest, limit_bytes: int) -> None:
    """Make sure that the body does not say itself that it is too large.

    Raises:
        DockgateError: PAYLOAD_TOO_LARGE.
    """
    if (request.content_length or 0) > limit_bytes:
        raise errors.too_large("the body", limit_bytes)


async def read(request: web.BaseRequest, limit_bytes: int, limit_seconds: float) -> bytes:
    """The raw body.

    Args:
        request: The request, of which nothing has been read.
        limit_bytes: The largest body, however it is sent.
        limit_seconds: The longest that sending it may take.

    Raises:
        DockgateError: PAYLOAD_TOO_LARGE; INVALID_REQUEST_BODY when it does not arrive whole.
    """
    check_length(request, limit_bytes)
    if not request.body_exists:
        return b""
    content = request.content
    if content.is_eof() and content.exception() is None:
        # It came whole with the head, as small ones do: nothing to wait for.
        raw = content.read_nowait()
        if len(raw) > limit_bytes:
            raise errors.too_large("the body", limit_bytes)
        return raw
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limit_seconds):
            await _invite(request)
            while chunk := await content.readany():
                size += len(chunk)
                # A chunked body does not say beforehand how large it is.
                if size > limit_bytes:
                    raise errors.too_large("the body", limit_bytes)
                chunks.append(chunk)
    except TimeoutError:
        _invalid(f"the body did not arrive within {limit_seconds:g} s")
    except (web.RequestPayloadError, ConnectionError):
        _invalid("the body broke off, or its transfer coding is wrong")
    return b"".join(chunks)


def check_json_type(request: web.BaseRequest) -> None:
    """Make sure that the body says that it is JSON.

    Raises:
        DockgateError: UNSUPPORTED_MEDIA_TYPE.
    """
    charset = (request.charset or "utf-8").lower()
    coding = request.headers.get("Content-Encoding", "identity").lower()
    if request.content_type == _JSON and charset in _CHARSETS and coding == "identity":
        return
    sent = request.headers.get("Content-Type", "")
    what = f"Content-Encoding {coding!r}" if coding != "identity" else f"Content-Type {sent!r}"
    raise DockgateError(
        Reason.UNSUPPORTED_MEDIA_TYPE,
        f"{what} is not taken; send Content-Type: {_JSON}, in UTF-8 and not compressed",
        metadata={"content_type": sent},
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in the body.

    Stricter than JSON asks for: a key may stand only once in an object, as two readers would
    not agree on which of its values is meant.

    Raises:
        DockgateError: INVALID_REQUEST_BODY.
    """
    try:
        # The strict one: no NaN, no lone surrogates, nothing behind the end, UTF-8 alone.
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _invalid(f"the body is not JSON: {error}")
    brackets = body.count(b"{") + body.count(b"[")
    if brackets > envelope.DEEPEST and envelope.deeper_than(envelope.DEEPEST, values):
        _invalid(f"the body is nested deeper than {envelope.DEEPEST} levels")
    # Every member has a colon, and only texts may have more: no more than members, no doubles.
    if body.count(b":") > _members(values):
        try:
            # The one that shows every pair, at ten times the price.
            json.loads(body, object_pairs_hook=_once)
        except _Doubled as twice:
            _invalid(f"the key {twice.key[:100]!r} stands more than once in one object of the body")
    if not isinstance(values, dict):
        _invalid("the body must be a JSON object")
    return values


class _Doubled(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _members(value: object) -> int:
    """How many members all the objects in it have."""
    if isinstance(value, dict):
        return len(value) + sum(map(_members, value.values()))
    return sum(map(_members, value)) if isinstance(value, list) else 0


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _Doubled(key)
        seen.add(key)


async def _invite(request: web.BaseRequest) -> None:
    """Ask for the body where the client waits to be asked, as curl does with large ones."""
    expect = request.headers.get("Expect", "").lower()
    if expect == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _invalid(message: str) -> NoReturn:
    raise DockgateError(Reason.INVALID_REQUEST_BODY, message) from None
