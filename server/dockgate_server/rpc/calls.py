"""The one place through which every call passes.

Who asks, the limit of calls, what they ask, the service, its errors as statuses, and word of
refusals. Methods are wrapped once, when a service is added to the server: nothing is looked up or
made for each call, and a service that is not added here does not exist.

To gRPC each call has a stream of requests, whatever the schema says; on the wire that is the same.
So the request is read here: when it is known who asks, in limited time, and with our errors.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from dockgate_server.access.bearer import WhoAsks
from dockgate_server.audit import Refused, unheard
from dockgate_server.errors import DockgateError, Reason, unavailable
from dockgate_server.limits.refusals import Refusals
from dockgate_server.model.caller import Caller
from dockgate_server.rpc.arrival import Arrival, Context, NothingCame, Read, TooSlow, reader, write
from dockgate_server.rpc.errors import refusal, to_status
from dockgate_server.rpc.origins import REQUEST_ID
from dockgate_server.rpc.received import Call, received
from dockgate_server.rpc.shares import Behaviour, Share

Unary = Callable[[Caller, Any], Awaitable[Any]]
Streaming = Callable[[Caller, Any], AsyncGenerator[Any, None]]

Take = Callable[[Caller], None]
"""Counts a call against its caller's limit; raises a DockgateError RATE_LIMITED beyond it."""

IsEmergency = Callable[[Any], bool]
"""Whether a request asks for what must get through also when its caller has sent too much."""

_UNKNOWN: Final = "grpc"
"""What the audit log calls a call of nothing."""

_LONGEST_PATH: Final = 200

Handlers: TypeAlias = "grpc.GenericRpcHandler[Any, Any]"
"""What a server finds the methods of a service by."""

_Handler = Behaviour
"""Its first argument is gRPC's own way to read requests, which is not used."""


def uncounted(caller: Caller) -> None:
    """Takes any number of calls."""


class Calls:
    """Wraps services.

    Args:
        who_asks: Finds out who makes a call.
        arrival: Reads what it asks.
        largest: How many bytes that may have.
        refusals: Writes down each call that was refused.
        take: Counts each call that has a caller; a watch counts once, at its start.
        take_emergency: Counts emergencies for which ``take`` has no room.
        refused: Hears of each call that was refused.
        mutual_tls: Look at clients' certificates, which TLS has verified.
    """

    def __init__(
        self,
        who_asks: WhoAsks,
        arrival: Arrival,
        largest: int,
        refusals: Refusals,
        *,
        take: Take = uncounted,
        take_emergency: Take = uncounted,
        refused: Refused = unheard,
        mutual_tls: bool = False,
    ) -> None:
        self._who_asks = who_asks
        self._arrival = arrival
        self._largest = largest
        self._refusals = refusals
        self._mutual_tls = mutual_tls
        self._take = take
        self._take_emergency = take_emergency
        self._refused = refused

    def through(
        self,
        service: object,
        described: ServiceDescriptor,
        emergencies: Mapping[str, IsEmergency] = MappingProxyType({}),
    ) -> Handlers:
        """What to add to the server for a service of ours.

        Args:
            service: Has a method for each rpc, which takes the caller and the request.
            described: The service in the schema.
            emergencies: By the names of unary methods, which of their requests are emergencies.
        """

        def wrapped(rpc: MethodDescriptor) -> _Handler:
            handler, read = getattr(service, rpc.name), reader(rpc.input_type, self._largest)
            if rpc.server_streaming:
                return self._streaming(rpc.name, handler, read)
            return self._unary(rpc.name, handler, read, emergencies.get(rpc.name))

        return _generic(described, wrapped)

    def open_to_all(
        self, service: object, described: ServiceDescriptor, share: Share | None = None
    ) -> Handlers:
        """What to add for one that serves also those of whom nothing is known.

        Args:
            service: Has a method for each rpc, which takes the request and gRPC's context; where
                there are many requests, an iterator of them, and then it yields the responses.
            described: The service in its schema.
            share: Counts its calls, unless workers do that.
        """

        def wrapped(rpc: MethodDescriptor) -> _Handler:
            handler, read = getattr(service, rpc.name), reader(rpc.input_type, self._largest)
            wrap = self._open_stream if rpc.client_streaming else self._open
            call = wrap(rpc.name, handler, read)
            return call if share is None else share.few(call)

        return _generic(described, wrapped)

    def of_nothing(self) -> Handlers:
        """What to add behind all others: refuses whatever none of them takes."""
        return _Nothing(self._nothing)

    def _unary(
        self, rpc: str, handler: Unary, read: Read, is_emergency: IsEmergency | None
    ) -> _Handler:
        async def call(_: Any, context: Context) -> Any:
            one = received(context, rpc, streaming=False, mutual_tls=self._mutual_tls)
            try:
                try:
                    caller = await self._admitted(one)
                except DockgateError as refused:
                    caller, request = await self._spared(one, refused, read, is_emergency)
                else:
                    request = read(await self._arrival.next(context))
                return await handler(caller, request)
            except Exception as error:
                await self._refuse(one, error)

        return call

    def _streaming(self, rpc: str, handler: Streaming, read: Read) -> _Handler:
        async def call(_: Any, context: Context) -> None:
            one = received(context, rpc, streaming=True, mutual_tls=self._mutual_tls)
            try:
                caller = await self._admitted(one)
                request = read(await self._arrival.next(context))
                # Closed here, so that whatever a watch holds is given back when its client leaves.
                async with aclosing(handler(caller, request)) as responses:
                    async for response in responses:
                        # Heartbeats come here too, so that an idle watch of a key that has been
                        # disabled ends as well. The keys are cached: this costs next to nothing.
                        await self._check_still(one)
                        await write(context, response)
            except Exception as error:
                await self._refuse(one, error)

        return call

    def _open(self, rpc: str, handler: _Handler, read: Read) -> _Handler:
        async def call(_: Any, context: Context) -> Any:
            one = received(context, rpc, streaming=False, mutual_tls=False)
            try:
                request = read(await self._arrival.next(context))
            except Exception as error:
                await self._refuse(one, error)
            return await handler(request, context)

        return call

    def _open_stream(
        self, rpc: str, handler: Callable[[Any, Context], AsyncGenerator[Any, None]], read: Read
    ) -> _Handler:
        async def call(_: Any, context: Context) -> None:
            one = received(context, rpc, streaming=False, mutual_tls=False)
            try:
                async with aclosing(handler(self._requests(context, read), context)) as responses:
                    async for response in responses:
                        await write(context, response)
            except Exception as error:
                await self._refuse(one, error)

        return call

    async def _requests(self, context: Context, read: Read) -> AsyncIterator[Any]:
        """All that a client asks in one call; who falls silent has asked everything."""
        while True:
            try:
                raw = await self._arrival.next(context)
            except (NothingCame, TooSlow):
                return
            yield read(raw)

    async def _nothing(self, path: str, context: Context) -> None:
        one = received(context, _UNKNOWN, streaming=False, mutual_tls=self._mutual_tls, path=path)
        try:
            try:
                await self._admitted(one)
            except DockgateError as error:
                # What there is not is no secret, and a tool without credentials that looks for
                # another version of a service must hear that it has to look on.
                if error.reason is Reason.RATE_LIMITED:
                    raise
            raise DockgateError(Reason.NOT_FOUND, f"there is no rpc {path}")
        except Exception as error:
            await self._refuse(one, error)

    async def _admitted(self, call: Call) -> Caller:
        proven = await self._who_asks(call.shown)
        # Written out: dataclasses.replace() takes three times as long, and every call comes here.
        caller = Caller(proven.tenant, proven.principal, proven.scopes, proven.devices, call.origin)
        call.proven, call.caller = proven, caller
        self._take(caller)
        return caller

    async def _spared(
        self, call: Call, refused: DockgateError, read: Read, is_emergency: IsEmergency | None
    ) -> tuple[Caller, Any]:
        """The emergency for which its caller is not refused, though he has sent too much.

        Raises:
            DockgateError: It is none, or he was refused for something else.
        """
        caller = call.caller
        if caller is None or is_emergency is None:
            raise refused
        request = read(await self._arrival.next(call.context))
        if not is_emergency(request):
            raise refused
        self._take_emergency(caller)
        return caller, request

    async def _check_still(self, call: Call) -> None:
        proven = await self._who_asks(call.shown)
        # Mostly it is the very same, which is much sooner seen than that it is equal.
        if proven is not call.proven and proven != call.proven:
            raise unavailable("what the caller may do has changed; watch again")

    async def _refuse(self, call: Call, error: Exception) -> NoReturn:
        why = refusal(error, call.origin.request_id)
        # A watch that ends so was not refused: it is to be taken up again. And who asks nothing
        # has mostly left; that is no refusal either.
        is_to_come_back = call.streaming and why.reason is Reason.UNAVAILABLE
        if not is_to_come_back and not isinstance(error, NothingCame):
            self._refused(call.caller, call.shown.claimed, call.origin, call.rpc, why)
            about = {"rpc": call.rpc, "path": call.path} if call.path else {"rpc": call.rpc}
            known = call.caller is not None
            self._refusals.tell("grpc_refused", why.reason, proven=known, **about)
        status = rpc_status.to_status(to_status(why))
        trailing = (*status.trailing_metadata, (REQUEST_ID, call.origin.request_id))
        await call.context.abort(status.code, status.details, trailing)
        raise AssertionError("abort() raises")


class _Nothing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it takes none at run time
    """Takes every call; gRPC asks it when no other has taken it."""

    def __init__(self, refuse: Callable[[str, Context], Awaitable[None]]) -> None:
        self._refuse = refuse

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """See :class:`grpc.GenericRpcHandler`."""
        path = repr(details.method[:_LONGEST_PATH])  # printable, whatever is in it

        async def call(_: Any, context: Context) -> None:
            await self._refuse(path, context)

        return grpc.stream_stream_rpc_method_handler(call)


def _generic(
    described: ServiceDescriptor, wrapped: Callable[[MethodDescriptor], _Handler]
) -> Handlers:
    """What gRPC serves a service by.

    Not registered method by method, as the generated code does it: gRPC then waits for each of
    them separately, which costs every call more than to find its method.
    """
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for rpc in described.methods:
        write = GetMessageClass(rpc.output_type).SerializeToString
        made = (
            grpc.stream_stream_rpc_method_handler
            if rpc.server_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        handlers[rpc.name] = made(wrapped(rpc), response_serializer=write)
    return grpc.method_handlers_generic_handler(described.full_name, handlers)
