"""A call as it came: where from, under which id, and what it shows of who makes it."""

from dataclasses import dataclass

import structlog

from dockgate_server.access.bearer import AUTHORIZATION, Shown
from dockgate_server.model.caller import Caller, Origin
from dockgate_server.rpc.arrival import Context
from dockgate_server.rpc.listening import ALTERNATIVE_NAMES, COMMON_NAME
from dockgate_server.rpc.origins import REQUEST_ID, origin

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
    metadata = context.invocation_metadata() or ()
    authorization = [str(value) for name, value in metadata if name == AUTHORIZATION]
    whence = origin(context.peer(), metadata)
    context.set_trailing_metadata(((REQUEST_ID, whence.request_id),))
    # Every call runs in a context of its own, which ends with it.
    structlog.contextvars.bind_contextvars(request_id=whence.request_id)
    names = _certificate_names(context) if mutual_tls else ()
    shown = Shown(tuple(authorization), names) if authorization or names else _NOTHING
    return Call(context, rpc, whence, shown, streaming, path)


def _certificate_names(context: Context) -> tuple[str, ...]:
    """The names in the certificate that the client has proven to be its own; none by default."""
    properties = context.auth_context()
    for kinds in (ALTERNATIVE_NAMES, COMMON_NAME):
        if names := [name for kind in kinds for name in properties.get(kind, ())]:
            return tuple(name.decode("utf-8", "replace") for name in names)
    return ()
