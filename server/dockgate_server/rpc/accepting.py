"""gRPC's server, with more than one call on its way in.

gRPC asks its core for a call, and for the next one when it has begun that: a change of thread there
and back for each, in which nobody is at work though calls are waiting. With some asked for ahead
they come many at a time. They are still begun by gRPC's own loop, one after the other, and count
against its limit.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from grpc import aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

AHEAD: Final = 64
"""Calls that are asked for beyond the next one."""

_TURNS: Final = 4
"""Of the event loop, in which a call that has come begins."""


class _Accepting(cygrpc.AioServer):  # type: ignore[misc]  # it has no types
    """What is under :class:`grpc.aio.Server`; the names of its methods are gRPC's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked: deque[asyncio.Task[Any]] = deque()

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Task[Any]":
        """The next call, which gRPC's loop waits for: the one that was asked for first."""
        if method is not None:  # calls are taken apart beforehand, which we do not ask for
            return self._ask(method)
        while len(self._asked) <= AHEAD:
            self._asked.append(self._ask(None))
        return self._asked.popleft()

    def _ask(self, method: bytes | None) -> "asyncio.Task[Any]":
        asked: asyncio.Task[Any] = super()._make_request_call_future(method)
        asked.add_done_callback(_look_away)
        return asked

    async def shutdown(self, grace: float | None) -> None:
        """Have those begun that have come, and end."""
        for _ in range(_TURNS * AHEAD):
            await asyncio.sleep(0)
        # One that comes at the very last is let go: kept here, it would hold up the end.
        asyncio.get_running_loop().call_soon(self._asked.clear)
        await super().shutdown(grace)


def server(options: Sequence[tuple[str, Any]], most_calls: int) -> aio.Server:
    """A server.

    Args:
        options: For gRPC's core.
        most_calls: That may be open at once.
    """
    ordinary = cygrpc.AioServer
    # gRPC has no other place to say so.
    cygrpc.AioServer = _Accepting
    try:
        return aio.server(options=options, maximum_concurrent_rpcs=most_calls)
    finally:
        cygrpc.AioServer = ordinary


def _look_away(asked: "asyncio.Task[Any]") -> None:
    """Those that nobody waits for end with the server."""
    if not asked.cancelled():
        asked.exception()
