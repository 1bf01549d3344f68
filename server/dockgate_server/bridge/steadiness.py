"""How well the connection holds: when to try again, and what the log says of it.

A connection that has been made is not yet one that lasts. Two clients with one id throw each
other out for ever, and some brokers hang up on the first message that they do not like. So the
pauses begin anew only behind a connection that has lasted, and the log tells where a trouble
begins and ends, not every attempt.
"""

import random
from functools import partial
from typing import Final

import structlog

from dockgate_server.clock import Clock, Handle

_log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.2
LAST_PAUSE_SECONDS: Final = 15.0
STEADY_SECONDS: Final = 15.0
"""How long a connection has to last. No shorter than the longest pause, or two clients that take
over from each other would each find that they had lasted."""

# A broker that restarts may break a young connection; doing it again is a pattern.
_BRIEF_IN_A_ROW: Final = 2


class Steadiness:
    """Is told how the connections go.

    Args:
        broker: The broker's address, for the log.
        client_id: What the broker knows us by, for the log.
        clock: The time.
    """

    def __init__(self, broker: str, client_id: str, clock: Clock) -> None:
        self._broker = broker
        self._client_id = client_id
        self._clock = clock
        self._failures = 0
        self._brief = 0  # how many connections in a row have not lasted
        self._broke_young = False  # that is how the last one ended
        self._told: set[str] = set()
        self._lasting: Handle | None = None

    def connected(self, version: str) -> None:
        """Messages can be published now, by this version of MQTT."""
        steady_at = self._clock.monotonic() + STEADY_SECONDS
        self._lasting = self._clock.call_at(steady_at, partial(self._has_lasted, version))
        if self._brief < _BRIEF_IN_A_ROW:
            self._tell_connected(version)

    def disconnected(self) -> None:
        """They no longer can; also for connections that never came to be."""
        self._broke_young = self._lasting is not None
        if self._lasting is not None:
            self._lasting.cancel()
            self._lasting = None
            self._brief += 1

    def failed(self, problem: str, *, taken_over: bool) -> float:
        """There is no connection, and why; answers how many seconds to wait with the next one.

        The pause doubles with each failure, and has jitter: after a broker's restart its clients
        must not all come at once.
        """
        self._failures += 1
        self._tell_trouble(problem, taken_over=taken_over)
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 10)
        return min(pause, LAST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def _has_lasted(self, version: str) -> None:
        self._lasting = None
        if self._brief >= _BRIEF_IN_A_ROW:
            self._tell_connected(version)
        self._failures = self._brief = 0

    def _tell_connected(self, version: str) -> None:
        self._told.clear()
        _log.info("broker_connected", broker=self._broker, mqtt=version)

    def _tell_trouble(self, problem: str, *, taken_over: bool) -> None:
        event, more = "broker_unreachable", {}
        if taken_over or (self._broke_young and self._brief >= _BRIEF_IN_A_ROW):
            # Not every broker says so when another client takes over.
            event = "broker_session_taken_over" if taken_over else "broker_connection_does_not_last"
            more = {"hint": f"no other client may have the id {self._client_id!r}"}
        if f"{event} {problem}" not in self._told:
            self._told.add(f"{event} {problem}")
            _log.warning(event, broker=self._broker, problem=problem, **more)
