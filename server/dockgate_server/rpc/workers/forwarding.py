"""Handing calls on to the gateway, and its answers back to gRPC."""

import asyncio
from collections import deque
from functools import partial
from typing import Any, Final

import grpc
from grpc import aio

from dockgate_server.rpc.arrival import Arrival, NothingCame, TooSlow
from dockgate_server.rpc.workers.channel import Channel, Frame, Kind
from dockgate_server.rpc.workers.orders import Method

WRITTEN_AT_ONCE: Final = 8
"""After so many messages that gRPC has taken the gateway is told."""

_NAMES: Final = ("peer_dns", "peer_uri", "peer_email", "x509_common_name")
"""What the gateway may want to know of a client's certificate."""

_OK: Final = grpc.StatusCode.OK.value[0]
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_Context = aio.ServicerContext[Any, Any]


class Forwarding(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it takes none at run time
    """Takes every call there is.

    Args:
        channel: The way to the gateway.
        arrival: Reads requests.
        methods: Those that are known, by path.
        mutual_tls: Hand on the names in clients' certificates, which TLS has verified.
    """

    def __init__(
        self, channel: Channel, arrival: Arrival, methods: dict[str, Method], *, mutual_tls: bool
    ) -> None:
        self._channel = channel
        self._arrival = arrival
        self._mutual_tls = mutual_tls
        self._loop = asyncio.get_running_loop()
        self._newest = 0
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._streaming: dict[int, _Answers] = {}
        self._handlers = {
            path: grpc.stream_unary_rpc_method_handler(partial(self._once, path))
            if method.answers_once
            else grpc.stream_stream_rpc_method_handler(partial(self._stream, path))
            for path, method in methods.items()
            if method.asks_once
        }

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """How a call of that path is handed on."""
        known = self._handlers.get(details.method)
        if known is not None:
            return known
        # Reflection, and what nobody knows: the gateway says so in its own words.
        return grpc.stream_stream_rpc_method_handler(partial(self._both_ways, details.method))

    def answered(self, frame: Frame) -> None:
        """Take what the gateway answers; of calls whose client has gone nothing is wanted."""
        number = frame[1]
        waiting = self._waiting.get(number)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(frame)
        elif (answers := self._streaming.get(number)) is not None:
            answers.put(frame)

    async def _once(self, path: str, _: Any, context: _Context) -> bytes:
        number = self._call(path, context, await self._request(context))
        waiting = self._waiting[number] = self._loop.create_future()
        try:
            _, _, code, details, trailing, only = await waiting
        except asyncio.CancelledError:
            self._channel.send(Kind.CANCEL, number)
            raise
        finally:
            del self._waiting[number]
        await _end(context, code, details, trailing)
        return only  # type: ignore[no-any-return]

    async def _stream(self, path: str, _: Any, context: _Context) -> None:
        await self._answer(self._call(path, context, await self._request(context)), context)

    async def _both_ways(self, path: str, _: Any, context: _Context) -> None:
        number = self._call(path, context)
        handing_on = asyncio.create_task(self._hand_on(number, context))
        try:
            await self._answer(number, context)
        finally:
            handing_on.cancel()

    async def _hand_on(self, number: int, context: _Context) -> None:
        while isinstance(request := await context.read(), bytes):
            self._channel.send(Kind.REQUEST, number, request)
        self._channel.send(Kind.REQUEST, number, None)

    async def _request(self, context: _Context) -> bytes | None:
        try:
            return await self._arrival.next(context)
        except (NothingCame, TooSlow):
            return None  # the gateway finds words for it

    def _call(self, path: str, context: _Context, *requests: bytes | None) -> int:
        self._newest += 1
        metadata = [(name, value) for name, value in context.invocation_metadata() or ()]
        names: dict[str, list[bytes]] = {}
        if self._mutual_tls:
            of_tls = context.auth_context()
            names = {name: list(of_tls[name]) for name in _NAMES if name in of_tls}
        self._channel.send(Kind.CALL, self._newest, path, metadata, context.peer(), names, requests)
        return self._newest

    async def _answer(self, number: int, context: _Context) -> None:
        answers = self._streaming[number] = _Answers()
        written = 0
        try:
            while (frame := await answers.next())[0] == Kind.MESSAGE:
                await context.write(frame[2])
                written += 1
                if written == WRITTEN_AT_ONCE:
                    self._channel.send(Kind.WRITTEN, number, written)
                    written = 0
        except BaseException:
            self._channel.send(Kind.CANCEL, number)
            raise
        finally:
            del self._streaming[number]
        _, _, code, details, trailing, _ = frame
        await _end(context, code, details, trailing)


class _Answers:
    """What the gateway has answered to a call with a stream, and gRPC has not taken yet."""

    __slots__ = ("_frames", "_more")

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._more: asyncio.Future[None] | None = None

    def put(self, frame: Frame) -> None:
        self._frames.append(frame)
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def next(self) -> Frame:
        while not self._frames:
            self._more = asyncio.get_running_loop().create_future()
            await self._more
        return self._frames.popleft()


async def _end(context: _Context, code: int, details: str, trailing: list[Any]) -> None:
    if code == _OK:
        context.set_trailing_metadata(tuple(trailing))
    else:
        await context.abort(_CODES[code], details, tuple(trailing))
