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

_Recorded = tuple[Transition | Unmatched, Callable[[], None]]
"""A fact, and what is to follow."""


def _nothing() -> None:
    pass


class Recorder:
    """Hands facts to the store, in the order in which they happened, until it has taken them.

    What happens while the store takes nothing waits behind what happened before: else a deadline
    could end a command whose answer had come in time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._not_taken: list[_Recorded] = []
        self._behind: list[_Recorded] = []  # what has happened since
        self._last: asyncio.Future[Any] | None = None  # of what the store was given

    def record(self, fact: Transition | Unmatched, then: Callable[[], None] = _nothing) -> None:
        """Record a fact, then call ``then``."""
        # In the turn of the loop in which the store fails something it may take the next fact, and
        # we are told of the failure later.
        if self._not_taken or _is_not_taken(self._last):
            self._behind.append((fact, then))
        else:
            self._hand_over(fact, then)

    def _hand_over(self, fact: Transition | Unmatched, then: Callable[[], None]) -> None:
        if isinstance(fact, Unmatched):
            future: asyncio.Future[Any] = self._store.record_unmatched(fact)
        else:
            future = self._store.apply(fact)
        future.add_done_callback(lambda done: self._taken(done, fact, then))
        self._last = future

    def _taken(
        self, done: "asyncio.Future[Any]", fact: Transition | Unmatched, then: Callable[[], None]
    ) -> None:
        if done.cancelled():
            return  # the event loop is closing; the fact comes again after the restart
        if _is_not_taken(done):
            if not self._not_taken:
                self._clock.call_at(self._clock.monotonic() + _RETRY_SECONDS, self._try_again)
            # The store refuses in the order asked, so they stay in order.
            self._not_taken.append((fact, then))
            return
        if (error := done.exception()) is not None:
            # A bug of ours. Going on is better than being stuck on this one message for ever.
            _log.error("fact_not_recorded", fact=type(fact).__name__, exc_info=error)
        then()

    def _try_again(self) -> None:
        waiting, self._not_taken, self._behind = self._not_taken + self._behind, [], []
        for fact, then in waiting:
            self._hand_over(fact, then)


def _is_not_taken(future: "asyncio.Future[Any] | None") -> bool:
    """Whether the store has said that it cannot take what it was given."""
    if future is None or not future.done() or future.cancelled():
        return False
    return isinstance(future.exception(), DockgateError)
