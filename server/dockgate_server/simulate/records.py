"""What a simulated dock remembers, and the signal by which others wait for it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One message that reached the dock, readable or not.

    Attributes:
        topic: the whole topic.
        on: its last part: services, set (property/set), down (drc/down), events_reply,
            requests_reply or status_reply.
        payload: the bytes as they came.
        message: the payload read as a JSON object, None if it is none.
        tid: the message's tid, None if absent or not a text.
        bid: likewise.
        method: likewise; a property/set has none.
        seq: the number beside data by which DRC counts, None if absent or not an integer.
        data: the message's data, whatever JSON it is; None if absent.
        expiry_seconds: what was left of the MQTT 5 message expiry; None if there was none or the
            connection speaks MQTT 3.1.1.
        qos: the quality of service with which it was delivered.
        retained: True if the broker had it stored as a retained message.
    """

    topic: str
    on: str
    payload: bytes
    message: dict[str, Any] | None
    tid: str | None
    bid: str | None
    method: str | None
    seq: int | None
    data: Any
    expiry_seconds: int | None
    qos: int
    retained: bool


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to the dock, for a log.

    Attributes:
        at_ms: the dock's clock, milliseconds since 1970.
        kind: connected, unreachable, disconnected, offline, returning (the link), asked, told (a
            request and its answer), refused (the registration), announced, accepted (update_topo
            and its answer), online (all of that, and how long it took), received, replied (a
            command), cleared (a flight may take off), reported, unanswered, given-up, acknowledged
            (an event), delayed (a message waits for the next connection) or ignored (a message
            that makes no sense to a dock).
        text: the rest of the line that a person reads.
        details: the same for programs. Neither holds the data of a command or of an answer: these
            can carry secrets.
    """

    at_ms: int
    kind: str
    text: str
    details: Mapping[str, object] = field(default_factory=dict)


Key = str | tuple[str, int | None]
"""What tells one command from another: a tid or, for direct control, method and seq."""


class Changes:
    """Wakes whoever waits for a condition, each time something has changed."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Let everyone look at their condition again."""
        # A new event for those who come later: setting and clearing one event would not wake
        # a waiter that has not run in between.
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as the condition holds, at once if it does already."""
        while not condition():
            await self._event.wait()


class Ledger:
    """The messages that reached the dock, and how often each command did.

    Only the latest `remember` are kept, so that a simulator can run for weeks.
    """

    def __init__(self, remember: int) -> None:
        """Start empty; `remember` is how many messages and keys of commands are kept."""
        self.received: deque[Received] = deque(maxlen=remember)
        self.counts: Counter[str] = Counter()
        self.executions: dict[Key, int] = {}
        self._remember = remember

    def note(self, received: Received) -> None:
        """Remember a message."""
        self.received.append(received)
        self.counts[received.on] += 1

    def execute(self, key: Key) -> int:
        """Count a command; return how often one with this key has come, this one included."""
        times = self.executions.pop(key, 0) + 1
        self.executions[key] = times
        if len(self.executions) > self._remember:
            del self.executions[next(iter(self.executions))]
        return times
