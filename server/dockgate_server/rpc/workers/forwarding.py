"""Handing calls on to the gateway, and its answers back to gRPC."""

import asyncio
from functools import partial
from typing import Any, Final

import grpc
from grpc import aio

from dockgate_server.clock import Clock
from dockgate_server.rpc.arrival import Arrival, NothingCame, TooSlow, write
from dockgate_server.rpc.listening import ALTERNATIVE_NAMES, COMMON_NAME
from dockgate_server.rpc.shares import Behaviour, Share, shares
from dockgate_server.rpc.workers.channel import Channel, Frame, Kind, Mailbox, weight
from dockgate_server.rpc.workers.orders import Method, Orders

TOLD_AFTER: Final = 16_384
"""When gRPC has taken messages of so much weight, the gateway is told. Less than a service waits
for, or it would wait for ever."""

_NAMES: Final = (*ALTERNATIVE_NAMES, *COMMON_NAME)
"""What the gateway may want to know of a client's certificate."""

_OK: Final = grpc.StatusCode.OK.value[0]
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

_Context = aio.ServicerContext[Any, Any]


class Forwarding(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it takes none at run time
    """Takes every call there is.

    Args:
        channel: The way to the gateway.
        orders: Which calls are known, and how.
        clock: The time.
    """

    def __init__(self, channel: Channel, orders: Orders, clock: Clock) -> None:
        self._channel = channel
        self._arrival = Arrival(clock, orders.request_seconds)
        self._mutual_tls = orders.terms.mutual_tls
        self._reads_first = orders.reads_first
        self._newest = 0
        self._calls: dict[int, _Once | _Several] = {}
        open_to_all = shares(orders.shares, orders.terms.max_calls, clock)
        self._handlers = {
            path: self._handler(path, method, open_to_all.get(path.split("/")[1]))
            for path, method in orders.methods.items()
        }

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """How a call of that path is handed on."""
        known = self._handlers.get(details.method)
        if known is not None:
            return known
        # The gateway says in its own words that nobody knows it.
        return grpc.stream_stream_rpc_method_handler(partial(self._unread, details.method))

    def answered(self, frame: Frame) -> None:
        """Take what the gateway says; of calls whose client has gone nothing is wanted."""
        call = self._calls.get(frame[1])
        if call is None:
            return
        if frame[0] != Kind.READ:
            call.answer(frame)
        elif call.reading is None or call.reading.done():
            call.reading = asyncio.create_task(self._hand_on(frame[1], call.context))

    def _handler(self, path: str, method: Method, share: Share | None) -> Any:
        made: Any = grpc.stream_stream_rpc_method_handler
        behaviour: Behaviour = partial(self._several if method.asks_once else self._unread, path)
        if method.asks_once and method.answers_once:
            made, behaviour = grpc.stream_unary_rpc_method_handler, partial(self._once, path)
        return made(behaviour if share is None else share.few(behaviour))

    async def _once(self, path: str, _: Any, context: _Context) -> bytes:
        call = _Once(context)
        number = await self._begin(path, call)
        try:
            _, _, code, details, trailing, only = await call.answered
        except asyncio.CancelledError:
            self._channel.send(Kind.CANCEL, number)
            raise
        finally:
            del self._calls[number]
        await _end(context, code, details, trailing)
        return only  # type: ignore[no-any-return]

    async def _several(self, path: str, _: Any, context: _Context) -> None:
        call = _Several(context)
        await self._write(await self._begin(path, call), call)

    async def _unread(self, path: str, _: Any, context: _Context) -> None:
        call = _Several(context)
        await self._write(self._hand_over(path, call), call)

    async def _begin(self, path: str, call: "_Once | _Several") -> int:
        if not self._reads_first:
            return self._hand_over(path, call)
        try:
            return self._hand_over(path, call, await self._arrival.next(call.context))
        except NothingCame:
            return self._hand_over(path, call, None)
        except TooSlow:
            return self._hand_over(path, call, False)

    def _hand_over(
        self, path: str, call: "_Once | _Several", *requests: bytes | bool | None
    ) -> int:
        context = call.context
        self._newest += 1
        self._calls[self._newest] = call
        metadata = [(name, value) for name, value in context.invocation_metadata() or ()]
        names: dict[str, list[bytes]] = {}
        if self._mutual_tls:
            of_tls = context.auth_context()
            names = {name: list(of_tls[name]) for name in _NAMES if name in of_tls}
        about = (path, metadata, context.peer(), names, requests)
        self._channel.send(Kind.CALL, self._newest, *about)
        return self._newest

    async def _hand_on(self, number: int, context: _Context) -> None:
        request = await context.read()
        self._channel.send(Kind.REQUEST, number, request if isinstance(request, bytes) else None)

    async def _write(self, number: int, call: "_Several") -> None:
        written = 0
        try:
            while (frame := await call.answers.take())[0] == Kind.MESSAGE:
                await write(call.context, frame[2])
                written += weight(frame[2])
                if written >= TOLD_AFTER:
                    self._channel.send(Kind.WRITTEN, number, written)
                    written = 0
        except BaseException:
            self._channel.send(Kind.CANCEL, number)
            raise
        finally:
            del self._calls[number]
            if call.reading is not None:
                call.reading.cancel()
        _, _, code, details, trailing, _ = frame
        await _end(call.context, code, details, trailing)


class _Once:
    """A call with one answer."""

    __slots__ = ("answered", "context", "reading")

    def __init__(self, context: _Context) -> None:
        self.context = context
        self.reading: asyncio.Task[None] | None = None
        self.answered: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    def answer(self, frame: Frame) -> None:
        if not self.answered.done():
            self.answered.set_result(frame)


class _Several:
    """A call with a stream of answers, and what of them gRPC has not taken yet."""

    __slots__ = ("answers", "context", "reading")

    def __init__(self, context: _Context) -> None:
        self.context = context
        self.reading: asyncio.Task[None] | None = None
        self.answers: Mailbox[Frame] = Mailbox()

    def answer(self, frame: Frame) -> None:
        self.answers.put(frame)


async def _end(context: _Context, code: int, details: str, trailing: list[Any]) -> None:
    if code == _OK:
        context.set_trailing_metadata(tuple(trailing))
    else:
        await context.abort(_CODES[code], details, tuple(trailing))
