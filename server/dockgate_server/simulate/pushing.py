"""What a dock tells unasked and at a steady pace: drc/up, osd, state, and events for load."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from dockgate_server.simulate import notices, osd, pushes
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.events import Events
from dockgate_server.simulate.link import Link

# Behind by more seconds than this, it does not catch up.
_MOST_BEHIND = 1.0


class Pusher:
    """Pushes as much as the dock is configured to."""

    def __init__(
        self,
        config: DockConfig,
        *,
        link: Link,
        events: Events,
        is_airborne: Callable[[], bool],
        now_ms: Callable[[], int],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Take what is needed to push.

        Args:
            config: how much is pushed.
            link: takes it to the broker.
            events: says events.
            is_airborne: tells whether the drone flies.
            now_ms: the device's clock, milliseconds since 1970.
            tasks: runs and supervises what is started here.
        """
        self._config = config
        self._link = link
        self._events = events
        self._is_airborne = is_airborne
        self._now_ms = now_ms
        self._tasks = tasks

    async def push(self) -> None:
        """Push until cancelled; returns at once if there is nothing to push."""
        # Not in a group inside this task: its tasks would go on for a moment when the dock ends,
        # and say events that nobody can take any more.
        running = [
            self._tasks.create_task(loop(rate), name=f"{self._config.gateway} pushes")
            for rate, loop in (
                (self._config.drc_push, self._push_drc),
                (self._config.osd, self._push_osd),
                (self._config.events, self._push_events),
            )
            if rate
        ]
        try:
            if running:
                await asyncio.wait(running)
        finally:
            for one in running:
                one.cancel()

    async def _push_drc(self, rate: float) -> None:
        topic = f"thing/product/{self._config.gateway}/drc/up"
        pace = _Pace(rate)
        for number in itertools.count():
            message = pushes.push(number, now_ms=self._now_ms())
            await self._link.say(topic, orjson.dumps(message))
            await pace.wait()

    async def _push_osd(self, rate: float) -> None:
        dock, drone = self._config.gateway, self._config.drone
        for state in osd.states(dock=dock, drone=drone):
            await self._link.publish(
                f"thing/product/{state.sn}/state", orjson.dumps(self._in_envelope(state))
            )
        pace = _Pace(rate)
        for number in itertools.count():
            message = osd.osd(number, dock=dock, drone=drone, airborne=self._is_airborne())
            await self._link.say(
                f"thing/product/{message.sn}/osd", orjson.dumps(self._in_envelope(message))
            )
            await pace.wait()

    async def _push_events(self, rate: float) -> None:
        pace = _Pace(rate)
        for number in itertools.count():
            notice = notices.notice(number, drone=self._config.drone)
            await self._events.say(notice.method, notice.data, need_reply=notice.need_reply)
            await pace.wait()

    def _in_envelope(self, message: osd.Message) -> dict[str, Any]:
        envelope = {
            "tid": str(uuid.uuid4()),
            "bid": str(uuid.uuid4()),
            "timestamp": self._now_ms(),
            "data": message.data,
            "gateway": self._config.gateway,
        }
        if message.need_reply is not None:
            envelope["need_reply"] = message.need_reply
        return envelope


class _Pace:
    """Lets a loop go round so often per second, on the whole."""

    def __init__(self, rate: float) -> None:
        self._pause = 1 / rate
        self._due = asyncio.get_running_loop().time()

    async def wait(self) -> None:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due + self._pause, now - _MOST_BEHIND)
        await asyncio.sleep(self._due - now)
