"""What calls of those who need not say who they are may take of ``grpc.max_calls``.

Whoever can connect could otherwise take all of it, and shut out everybody who is known: by calls
that never say what they want, or by not reading the answers. Such a call cannot be ended: gRPC
holds it, and its answer, until the client reads, cancels or is disconnected. So it is counted
where gRPC is spoken, and until gRPC has let go of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import structlog

from dockgate_server.clock import Clock
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.lines import Lines
from dockgate_server.rpc.arrival import Context
from dockgate_server.rpc.origins import REQUEST_ID, origin

_log = structlog.get_logger(__name__)

LIMIT: Final = "grpc.max_calls"

Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
"""What gRPC calls."""


class Share:
    """The calls of one service that may be open at once.

    Args:
        most: How many.
        clock: The time.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._lines = Lines(1, clock)
        self._open = 0

    def few(self, behaviour: Behaviour) -> Behaviour:
        """The same, for so many calls at once; the next one is refused."""

        async def call(requests: Any, context: Context) -> Any:
            if self._open >= self._most:
                await self._refuse(context)
            self._open += 1
            context.add_done_callback(self._over)  # type: ignore[arg-type]  # it wants a class
            return await behaviour(requests, context)

        return call

    def _over(self, _: Context) -> None:
        self._open -= 1

    async def _refuse(self, context: Context) -> None:
        # Here, as a worker that refuses nothing has no use for them.
        from grpc_status import rpc_status

        from dockgate_server.rpc.errors import to_status

        whence = origin(context.peer(), context.invocation_metadata() or ())
        if (left_out := self._lines.one_more()) is not None:
            who = whence.peer.rpartition(":")[0].strip("[]")
            _log.warning("limit_reached", limit=LIMIT, who=who, refused=left_out + 1)
        error = DockgateError(
            Reason.RATE_LIMITED,
            f"{self._most} calls of this service are open, and no more are taken for now; "
            "try again in 1 s",
            metadata={"limit": LIMIT, "retry_after_seconds": "1"},
        )
        status = rpc_status.to_status(to_status(error))
        trailing = (*status.trailing_metadata, (REQUEST_ID, whence.request_id))
        await context.abort(status.code, status.details, trailing)


def most_of(wanted: int, max_calls: int) -> int:
    """The calls that a service may have open: so many, but never more than half of all."""
    return max(1, min(wanted, max_calls // 2))


def shares(services: Mapping[str, int], max_calls: int, clock: Clock) -> dict[str, Share]:
    """A share for each service.

    Args:
        services: How many calls each may have open at most, by its name.
        max_calls: How many there may be in all.
        clock: The time.
    """
    return {name: Share(most_of(most, max_calls), clock) for name, most in services.items()}
