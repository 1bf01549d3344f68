"""The parts of a simulated dock, put together: what comes in is led to the part that it is for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import aiomqtt
import orjson

from dockgate_server.simulate import inbox, replies, takeoff
from dockgate_server.simulate.asking import Requests
from dockgate_server.simulate.behaviour import Behaviours
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.events import Events
from dockgate_server.simulate.link import Happened, Link
from dockgate_server.simulate.presence import Presence
from dockgate_server.simulate.pushing import Pusher
from dockgate_server.simulate.records import Changes, Ledger, Received
from dockgate_server.simulate.runs import Runs
from dockgate_server.simulate.work import Worker


class Device:
    """A dock with its link to the broker; it lives while `run` runs.

    Attributes:
        behaviours: how it answers.
        changes: wakes who waits for something to become so.
        ledger: what it has received.
        link: its connection.
        requests: what it asks the cloud.
        presence: whether the cloud knows it.
        events: what it tells the cloud.
    """

    def __init__(
        self,
        config: DockConfig,
        *,
        happened: Happened,
        now_ms: Callable[[], int],
        rng: random.Random,
    ) -> None:
        """Put a dock together; nothing happens before it runs.

        Args:
            config: what it is and where it connects to.
            happened: told of everything that happens.
            now_ms: the device's clock, milliseconds since 1970.
            rng: source of the jitter.
        """
        self._config = config
        self._happened = happened
        # One group for all tasks: if any of them fails, the dock ends and says so.
        self._tasks = asyncio.TaskGroup()
        self.behaviours = Behaviours(config.behaviours)
        self.ledger = Ledger(config.remember)
        self.changes = Changes()
        self.link = Link(
            config,
            topics=inbox.topics(config.gateway),
            will=aiomqtt.Will(
                f"sys/product/{config.gateway}/status", orjson.dumps(replies.absence()), qos=1
            ),
            on_message=self._on_message,
            while_connected=self._be_present,
            happened=happened,
            changes=self.changes,
            rng=rng,
        )
        self.requests = Requests(config, link=self.link, happened=happened, now_ms=now_ms)
        self.presence = Presence(
            config,
            link=self.link,
            requests=self.requests,
            happened=happened,
            changes=self.changes,
            now_ms=now_ms,
        )
        self.events = Events(
            config, link=self.link, happened=happened, now_ms=now_ms, tasks=self._tasks
        )
        self._runs = Runs(
            config,
            report=self.events.report,
            before_takeoff=self._before_takeoff,
            tasks=self._tasks,
        )
        self._worker = Worker(
            config,
            link=self.link,
            runs=self._runs,
            happened=happened,
            now_ms=now_ms,
            tasks=self._tasks,
        )
        self._pusher = Pusher(
            config,
            link=self.link,
            events=self.events,
            is_airborne=lambda: self._runs.is_airborne,
            now_ms=now_ms,
            tasks=self._tasks,
        )

    async def run(self) -> None:
        """Be a dock until cancelled."""
        async with self._tasks:
            await self.link.run(self._tasks)

    async def _be_present(self) -> None:
        await self.presence.enter()
        await self._pusher.push()

    async def _before_takeoff(self, flight_id: str) -> None:
        if self._config.register:
            await takeoff.ask_before(
                flight_id, requests=self.requests, config=self._config, happened=self._happened
            )

    def _on_message(self, message: aiomqtt.Message) -> None:
        received = inbox.received(message)
        self.ledger.note(received)
        try:
            parsed = replies.read_message(received.payload)
            command = inbox.asked(received.on, parsed)
            if command is not None:
                self._on_command(command, received)
            elif received.on == "events_reply":
                self._on_events_reply(received)
            elif received.on == "requests_reply":
                self.requests.hear(received)
            else:
                self.presence.hear(received)
        except ValueError as error:
            # Nothing that a cloud sends may break a dock.
            self._happened("ignored", f"a message on {received.topic}: {error}", reason=str(error))
        self.changes.notify()

    def _on_command(self, command: inbox.Asked, received: Received) -> None:
        times = self.ledger.execute(command.key)
        again = f", for the {times}. time" if times > 1 else ""
        expiry = received.expiry_seconds
        lapse = f", expires in {expiry} s" if expiry is not None else ""
        self._happened(
            "received",
            f"{command.method} {command.label}{again}{lapse}",
            **command.ids,
            method=command.method,
            times=times,
            expiry_seconds=expiry,
        )
        conduct = self.behaviours.conduct(command.method)
        self._worker.obey(command, conduct, is_new=times == 1)

    def _on_events_reply(self, received: Received) -> None:
        if not self.events.hear(received.tid):
            raise ValueError(f"no event with tid {received.tid} waits for an answer")
        self._happened("acknowledged", f"{received.method} tid {received.tid}", tid=received.tid)
