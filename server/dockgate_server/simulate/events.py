"""The events of a dock: said to the cloud, and said again until it has answered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.link import Happened, Link
from dockgate_server.simulate.reports import Report


class Events:
    """Says events, and repeats those that ask for an answer until one comes."""

    def __init__(
        self,
        config: DockConfig,
        *,
        link: Link,
        happened: Happened,
        now_ms: Callable[[], int],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Take what is needed to say something; `tasks` runs what is started here."""
        self._config = config
        self._link = link
        self._happened = happened
        self._now_ms = now_ms
        self._tasks = tasks
        self._topic = f"thing/product/{config.gateway}/events"
        self._unanswered: dict[str, asyncio.Event] = {}

    @property
    def unanswered(self) -> frozenset[str]:
        """The tids of the events that wait for the cloud's answer."""
        return frozenset(self._unanswered)

    def hear(self, tid: str | None) -> bool:
        """Take the cloud's answer to an event; False if none with this tid waits for one."""
        waiting = self._unanswered.pop(tid or "", None)
        if waiting is None:
            return False
        waiting.set()
        return True

    async def report(self, report: Report) -> None:
        """Say a report of a job; returns when the broker has taken it."""
        await self.say(
            report.event,
            report.data,
            need_reply=report.need_reply,
            bid=report.bid,
            at=f"{report.percent} % {report.state} ",
            percent=report.percent,
            state=report.state,
        )

    async def say(
        self,
        method: str,
        data: Any,
        *,
        need_reply: int | None = None,
        bid: str | None = None,
        copies: int = 1,
        at: str = "",
        **details: object,
    ) -> str:
        """Say an event; returns its tid when the broker has taken it.

        Who is cancelled meanwhile takes nothing back: the event goes out, and is repeated like
        any other.

        Args:
            method: DJI's name of the event.
            data: whatever JSON it carries.
            need_reply: 1 asks the cloud to answer, 0 does not, None leaves the member out.
            bid: None makes a new one.
            copies: how often it goes out at once, whether or not it is answered.
            at: goes into the text of the happening.
            details: go into the details of the happening.
        """
        tid, bid = str(uuid.uuid4()), bid or str(uuid.uuid4())
        message: dict[str, Any] = {
            "tid": tid,
            "bid": bid,
            "timestamp": self._now_ms(),
            "gateway": self._config.gateway,
            "method": method,
            "data": data,
        }
        if need_reply is not None:
            message["need_reply"] = need_reply
        payload = orjson.dumps(message)
        answered = asyncio.Event()
        if need_reply == 1:
            # Before it leaves: the answer may be here before the broker's acknowledgement.
            self._unanswered[tid] = answered
        happened = {"tid": tid, "bid": bid, "method": method, **details}

        async def deliver() -> None:
            for _ in range(copies):
                await self._link.publish(self._topic, payload)
            self._happened(
                "reported", f"{method} {at}bid {bid}", **happened, payload=payload.decode()
            )
            if need_reply == 1:
                self._tasks.create_task(
                    self._insist(method, tid, payload, answered),
                    name=f"{self._config.gateway} event {tid}",
                )

        # A task of its own, as a job that is stopped in between must not lose its last report.
        name = f"{self._config.gateway} {method} {tid}"
        await asyncio.shield(self._tasks.create_task(deliver(), name=name))
        return tid

    async def _insist(self, method: str, tid: str, payload: bytes, answered: asyncio.Event) -> None:
        """Send an event again, as it was, until the cloud answers or the dock gives up."""
        pauses = self._config.event_repeats
        try:
            for pause in pauses:
                if await _is_set_within(answered, pause):
                    return
                await self._link.publish(self._topic, payload)
                self._happened("unanswered", f"{method} tid {tid}, sent again", tid=tid)
            # An answer to the last repetition is still an answer.
            if not await _is_set_within(answered, pauses[-1] if pauses else 0.0):
                self._happened("given-up", f"{method} tid {tid} stays unanswered", tid=tid)
        finally:
            self._unanswered.pop(tid, None)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
