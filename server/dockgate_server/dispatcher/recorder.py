"""Recording what has happened, however long the store takes to be able to.

A submission that the store cannot take is refused. A reply, an acknowledgement or a deadline
cannot be refused: it has happened. So it is tried again until it is recorded.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from dockgate_server.clock import Clock
from dockgate_server.errors import DockgateError
from dockgate_server.model.transitions import Transition, Unmatched
from dockgate_server.store.interface import Store

_log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


def _nothing() -> None:
    pass


class Recorder:
    """Hands facts to the store until it has taken them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def record(self, fact: Transition | Unmatched, then: Callable[[], None] = _nothing) -> None:
        """Record a fact, then call ``then``; order is kept unless the store fails in between."""
        if isinstance(fact, Unmatched):
            future: asyncio.Future[Any] = self._store.record_unmatched(fact)
        else:
            future = self._store.apply(fact)
        future.add_done_callback(lambda done: self._taken(done, fact, then))

    def _taken(
        self, done: "asyncio.Future[Any]", fact: Transition | Unmatched, then: Callable[[], None]
    ) -> None:
        if done.cancelled():
            return  # the event loop is closing; the fact comes again after the restart
        error = done.exception()
        if isinstance(error, DockgateError):
            when = self._clock.monotonic() + _RETRY_SECONDS
            self._clock.call_at(when, lambda: self.record(fact, then))
            return
        if error is not None:
            # A bug of ours. Going on is better than being stuck on this one message for ever.
            _log.error("fact_not_recorded", fact=type(fact).__name__, exc_info=error)
        then()
