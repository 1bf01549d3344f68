"""A call as it came: where from, under which id, and what it shows of who makes it."""

from dataclasses import dataclass
from urllib.parse import unquote

import structlog

from dockgate_server import request_ids
from dockgate_server.access.bearer import AUTHORIZATION, Shown
from dockgate_server.model.caller import Caller, Origin
from dockgate_server.rpc.arrival import Context
from dockgate_server.rpc.listening import ALTERNATIVE_NAMES, COMMON_NAME
from dockgate_server.rpc.shares import REQUEST_ID

_NOTHING = Shown()


@dataclass(slots=True)
class Call:
    """A call on its way through."""

    context: Context
    rpc: str
    origin: Origin
    shown: Shown
    streaming: bool
    path: str = ""
    """What was asked for, where there is nothing."""
    proven: Caller | None = None
    """Whoever it was at the start, without an origin."""
    caller: Caller | None = None
    """The same with where this call comes from."""


def received(
    context: Context, rpc: str, *, streaming: bool, mutual_tls: bool, path: str = ""
) -> Call:
    """The call; from now on it ends with its id, and what is logged of it has that too."""
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
    names = _certificate_names(context) if mutual_tls else ()
    shown = Shown(tuple(authorization), names) if authorization or names else _NOTHING
    origin = Origin("grpc", _address(context.peer()), asked)
    return Call(context, rpc, origin, shown, streaming, path)


def _address(peer: str) -> str:
    """HOST:PORT of what gRPC writes as ``ipv6:%5B::1%5D:50051``."""
    return unquote(peer.partition(":")[2])


def _certificate_names(context: Context) -> tuple[str, ...]:
    """The names in the certificate that the client has proven to be its own; none by default."""
    properties = context.auth_context()
    for kinds in (ALTERNATIVE_NAMES, COMMON_NAME):
        if names := [name for kind in kinds for name in properties.get(kind, ())]:
            return tuple(name.decode("utf-8", "replace") for name in names)
    return ()
