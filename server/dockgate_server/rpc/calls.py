"""The one place through which every call of our services passes.

Who asks, the limit of calls, the service, its errors as statuses, and word of refusals. Methods
are wrapped once, when a service is added to the server: nothing is looked up or made for each
call, and a service that is not added here does not exist.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, NoReturn
from urllib.parse import unquote

import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc import aio
from grpc_status import rpc_status

from dockgate_server import request_ids
from dockgate_server.access.bearer import AUTHORIZATION, Shown, WhoAsks
from dockgate_server.audit import Refused, unheard
from dockgate_server.errors import Reason, unavailable
from dockgate_server.model.caller import Caller, Origin
from dockgate_server.rpc.errors import refusal, to_status

REQUEST_ID: Final = request_ids.REQUEST_ID.lower()
"""The metadata, in calls and in what ends them."""

Context = aio.ServicerContext[Any, Any]
Unary = Callable[[Caller, Any], Awaitable[Any]]
Streaming = Callable[[Caller, Any], AsyncGenerator[Any, None]]

Take = Callable[[Caller], None]
"""Counts a call against its caller's limit; raises a DockgateError RATE_LIMITED beyond it."""

# By this order a certificate is known; its common name counts only where it has none of them.
_ALTERNATIVE_NAMES = ("peer_dns", "peer_uri", "peer_email")
_COMMON_NAME = ("x509_common_name",)

_NOTHING = Shown()

_log = structlog.get_logger(__name__)


def unlimited(caller: Caller) -> None:
    """Takes any number of calls."""


@dataclass(slots=True)
class _Call:
    """A call on its way through."""

    context: Context
    rpc: str
    origin: Origin
    shown: Shown
    streaming: bool
    proven: Caller | None = None
    """Whoever it was at the start, without an origin."""
    caller: Caller | None = None
    """The same with where this call comes from."""


class Calls:
    """Wraps services.

    Args:
        who_asks: Finds out who makes a call.
        take: Counts each call that has a caller; a watch counts once, at its start.
        refused: Hears of each call that was refused.
        mutual_tls: Look at clients' certificates, which TLS has verified.
    """

    def __init__(
        self,
        who_asks: WhoAsks,
        *,
        take: Take = unlimited,
        refused: Refused = unheard,
        mutual_tls: bool = False,
    ) -> None:
        self._who_asks = who_asks
        self._mutual_tls = mutual_tls
        self._take = take
        self._refused = refused

    def through(self, service: object, described: ServiceDescriptor) -> Any:
        """What to add to the server in place of a service.

        Args:
            service: Has a method for each rpc, which takes the caller and the request.
            described: The service in the schema.
        """
        wrapped = {
            rpc.name: (self._streaming if rpc.server_streaming else self._unary)(
                rpc.name, getattr(service, rpc.name)
            )
            for rpc in described.methods
        }
        return SimpleNamespace(**wrapped)

    def _unary(self, rpc: str, handler: Unary) -> Callable[[Any, Context], Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            one = self._received(context, rpc, streaming=False)
            try:
                return await handler(await self._admitted(one), request)
            except Exception as error:
                await self._refuse(one, error)

        return call

    def _streaming(self, rpc: str, handler: Streaming) -> Callable[[Any, Context], Awaitable[None]]:
        async def call(request: Any, context: Context) -> None:
            one = self._received(context, rpc, streaming=True)
            try:
                caller = await self._admitted(one)
                # Closed here, so that whatever a watch holds is given back when its client leaves.
                async with aclosing(handler(caller, request)) as responses:
                    async for response in responses:
                        # Heartbeats come here too, so that an idle watch of a key that has been
                        # disabled ends as well. The keys are cached: this costs next to nothing.
                        await self._check_still(one)
                        await context.write(response)
            except Exception as error:
                await self._refuse(one, error)

        return call

    async def _admitted(self, call: _Call) -> Caller:
        proven = await self._who_asks(call.shown)
        # Written out: dataclasses.replace() takes three times as long, and every call comes here.
        caller = Caller(proven.tenant, proven.principal, proven.scopes, proven.devices, call.origin)
        call.proven, call.caller = proven, caller
        self._take(caller)
        return caller

    async def _check_still(self, call: _Call) -> None:
        proven = await self._who_asks(call.shown)
        # Mostly it is the very same, which is much sooner seen than that it is equal.
        if proven is not call.proven and proven != call.proven:
            raise unavailable("what the caller may do has changed; watch again")

    async def _refuse(self, call: _Call, error: Exception) -> NoReturn:
        why = refusal(error, call.origin.request_id)
        # A watch that ends so was not refused: it is to be taken up again.
        if not (call.streaming and why.reason is Reason.UNAVAILABLE):
            self._refused(call.caller, call.shown.claimed, call.origin, call.rpc, why)
            if why.reason is not Reason.RATE_LIMITED:  # a flood of calls must not be one of lines
                _log.info("grpc_refused", rpc=call.rpc, code=why.reason)
        status = rpc_status.to_status(to_status(why))
        trailing = (*status.trailing_metadata, (REQUEST_ID, call.origin.request_id))
        await call.context.abort(status.code, status.details, trailing)
        raise AssertionError("abort() raises")

    def _received(self, context: Context, rpc: str, *, streaming: bool) -> _Call:
        authorization: list[str] = []
        request_id: list[str] = []
        for name, value in context.invocation_metadata() or ():
            if name == AUTHORIZATION:
                authorization.append(str(value))
            elif name == REQUEST_ID:
                request_id.append(str(value))
        asked = request_ids.choose(request_id)
        context.set_trailing_metadata(((REQUEST_ID, asked),))
        # Every call runs in a context of its own, which ends with it.
        structlog.contextvars.bind_contextvars(request_id=asked)
        names = _certificate_names(context) if self._mutual_tls else ()
        shown = Shown(tuple(authorization), names) if authorization or names else _NOTHING
        origin = Origin("grpc", _address(context.peer()), asked)
        return _Call(context, rpc, origin, shown, streaming)


def _address(peer: str) -> str:
    """HOST:PORT of what gRPC writes as ``ipv6:%5B::1%5D:50051``."""
    return unquote(peer.partition(":")[2])


def _certificate_names(context: Context) -> tuple[str, ...]:
    """The names in the certificate that the client has proven to be its own; none by default."""
    properties = context.auth_context()
    for kinds in (_ALTERNATIVE_NAMES, _COMMON_NAME):
        if names := [name for kind in kinds for name in properties.get(kind, ())]:
            return tuple(name.decode("utf-8", "replace") for name in names)
    return ()
