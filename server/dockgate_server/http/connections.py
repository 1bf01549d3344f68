"""Connections of the HTTP server: how many there may be, how slow they may be, how large a head.

aiohttp waits as long for the first head as for the next one, and has no limit for all headers
together, for how many connections there are, and for a client that does not read its answer.
"""

import asyncio
from collections import Counter
from itertools import chain
from typing import Final, cast

from aiohttp import web

from dockgate_server import errors, request_ids
from dockgate_server.config import Http
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.http.errors import error_response, internal_error
from dockgate_server.http.open_api import OpenApi
from dockgate_server.http.responses import request_id
from dockgate_server.limits.refusals import Refusals

LINGERING_SECONDS: Final = 5.0
"""For what is left of a refused request: dropping the connection at once would let the client see
a broken connection instead of the answer."""

LONGEST_LINE: Final = 8190
"""Bytes of the first line, and of each header."""

_MOST_LINGERING: Final = 100
"""Connections that are turned away and wait for the client to read why; others just end."""

_FIRST_SERVER_ERROR: Final = 500
_SEPARATORS: Final = len(": \r\n")


class Connections(web.Server):
    """aiohttp's server with our limits and our errors.

    Its router is not used: it matches the decoded path, but signed is the path as sent.

    Args:
        api: Answers requests.
        settings: The limits.
        refusals: Writes down who has reached one.
    """

    def __init__(self, api: OpenApi, settings: Http, refusals: Refusals) -> None:
        # A client that goes away must not stop a submission halfway.
        super().__init__(self._answer, handler_cancellation=False)
        self.api = api
        self.settings = settings
        self.refusals = refusals
        self.open: Counter[str] = Counter()
        """How many are being served, by the address they come from."""
        self.lingering = 0
        """How many have been turned away and are not closed yet."""
        self.unreadable = DockgateError(
            Reason.INVALID_REQUEST_BODY,
            "this is not an HTTP request that can be read, or its head is larger than "
            f"{settings.max_head_bytes} bytes, or a line of it longer than {LONGEST_LINE}, or it "
            f"has more than {settings.max_headers} headers",
        )

    def limit_reached(self, address: str) -> tuple[str, int] | None:
        """The setting and its number that keeps one more connection from there out."""
        settings = self.settings
        if self.open.total() >= settings.max_connections:
            return "http.max_connections", settings.max_connections
        # Behind a proxy all come from one address.
        most = settings.max_connections_per_address
        if self.open[address] >= most and not settings.trusted_proxy:
            return "http.max_connections_per_address", most
        return None

    def __call__(self) -> "Connection":
        """A protocol for a new connection."""
        return Connection(
            self,
            self._loop,
            keepalive_timeout=self.settings.idle_seconds,
            lingering_time=LINGERING_SECONDS,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=self.settings.max_headers,
            # Signed is the body as sent, and a small body must not become a large one.
            auto_decompress=False,
            access_log=None,
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if _bytes_in_head(request) > self.settings.max_head_bytes:
            asked = request_id(request)
            self.api.unreadable(request.transport, asked, self.unreadable)
            response = error_response(self.unreadable, asked)
            response.force_close()
            return response
        return await self.api.handle(request)


class Connection(web.RequestHandler):
    """A connection that must be quick, and whose errors have the form of ours.

    Args:
        server: Whose it is.
        loop: The event loop.
        options: What aiohttp can limit by itself.
    """

    __slots__ = (
        "_counted_as",
        "_head_bytes",
        "_head_timer",
        "_linger_timer",
        "_reader_timer",
        "_server",
    )

    def __init__(
        self, server: Connections, loop: asyncio.AbstractEventLoop, **options: object
    ) -> None:
        super().__init__(server, loop=loop, **options)  # type: ignore[arg-type]
        self._server = server
        self._counted_as: str | None = None
        self._head_bytes = 0  # of a head that is not whole yet
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._reader_timer: asyncio.TimerHandle | None = None

    def enter(self, address: str) -> None:
        """Count it, from there; before its handshake where there is one."""
        self._server.open[address] += 1
        self._counted_as = address

    def leave(self) -> None:
        """Make room for another one; doing so again changes nothing."""
        address, self._counted_as = self._counted_as, None
        if address is not None:
            self._server.open[address] -= 1
            if not self._server.open[address]:
                del self._server.open[address]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it, or turn it away."""
        server = self._server
        limit = None
        if self._counted_as is None:
            peer = transport.get_extra_info("peername")
            address = str(peer[0]) if isinstance(peer, tuple) else ""
            limit = server.limit_reached(address)
            if limit is None:
                self.enter(address)
        if limit is None:
            super().connection_made(transport)
            self._head_timer = self._loop.call_later(
                server.settings.head_seconds, self._head_is_too_slow
            )
            return
        turned_away = cast("asyncio.Transport", transport)  # uvloop's does not say that it is one
        self.transport = turned_away
        server.connection_made(self, turned_away)  # so that a stop ends it too
        setting, most = limit
        whose = " from your address" if setting != "http.max_connections" else ""
        busy = f"{most} connections{whose} are open, and no more are taken for now"
        self._turn_away(errors.unavailable(busy), setting)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give back whatever it held."""
        self.leave()
        if self._linger_timer is not None:
            self._server.lingering -= 1
        for timer in (self._head_timer, self._linger_timer, self._reader_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._linger_timer = self._reader_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head must be whole in time, and before it is too large."""
        if self._linger_timer is not None:
            return
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._head_bytes = 0
            self._stop_head_timer()
        elif data and (not heads or (self._waiter is not None and not self._waiter.done())):
            # No request is being answered, so this is a part of the next head. The first one may
            # begin to come before anything waits for it.
            settings = self._server.settings
            self._head_bytes += len(data)
            if self._head_bytes > settings.max_head_bytes:
                self._turn_away(self._server.unreadable, "http.max_head_bytes")
            elif self._head_timer is None:
                self._head_timer = self._loop.call_later(
                    settings.head_seconds, self._head_is_too_slow
                )

    def _process_keepalive(self) -> None:
        """End it when it is idle; a head that has begun to come has a time of its own."""
        if self._head_bytes and self._head_timer is not None:
            self._keepalive_handle = None  # there will be another one behind its answer
            return
        super()._process_keepalive()

    def pause_writing(self) -> None:
        """The client does not take its answer; it must, before long."""
        super().pause_writing()
        self._reader_timer = self._loop.call_later(
            self._server.settings.body_seconds, self._reader_is_too_slow
        )

    def resume_writing(self) -> None:
        """The client has taken some of it."""
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to what could not be read as a request; the connection ends with it."""
        is_ours = status >= _FIRST_SERVER_ERROR
        error = internal_error() if is_ours else self._server.unreadable
        asked = request_ids.new()
        said = {"request_id": asked, "status": status, "problem": type(exc).__name__}
        self._server.refusals.tell("http_unreadable", error.reason, proven=False, **said)
        self._server.api.unreadable(self.transport, asked, error)
        response = error_response(error, asked)
        response.force_close()
        return response

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_too_slow(self) -> None:
        self._head_timer = None
        if not self._head_bytes:
            self.force_close()  # nobody has asked anything
            return
        seconds = self._server.settings.head_seconds
        slow = DockgateError(
            Reason.INVALID_REQUEST_BODY,
            f"the head of the request did not arrive within {seconds:g} s",
        )
        self._turn_away(slow, "http.head_seconds")

    def _reader_is_too_slow(self) -> None:
        self._reader_timer = None
        if self.transport is not None:
            self._server.refusals.note("http.body_seconds", self._peer(), proven=False)
            self.transport.abort()

    def _turn_away(self, error: DockgateError, limit: str) -> None:
        """Say why without having read a request, and give the client some time to read that."""
        server, transport = self._server, self.transport
        assert transport is not None
        self._stop_head_timer()  # or it would be turned away once more
        server.refusals.note(limit, self._peer(), proven=False)
        asked = request_ids.new()
        server.api.unreadable(transport, asked, error)
        self.close()
        if server.lingering >= _MOST_LINGERING:
            transport.abort()
            return
        server.lingering += 1
        transport.write(_written(error_response(error, asked)))
        self._linger_timer = self._loop.call_later(LINGERING_SECONDS, transport.close)

    def _peer(self) -> str:
        peer = self.peername
        return str(peer[0]) if isinstance(peer, tuple) else ""


def _bytes_in_head(request: web.BaseRequest) -> int:
    first = len(request.method) + len(request.raw_path) + len("  HTTP/1.1\r\n")
    headers = request.raw_headers
    return first + _SEPARATORS * len(headers) + sum(map(len, chain.from_iterable(headers)))


def _written(response: web.Response) -> bytes:
    """A response as it goes over the wire, where there is no request that it answers."""
    body = response.body
    assert isinstance(body, bytes)
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{lines}\r\n".encode() + body
