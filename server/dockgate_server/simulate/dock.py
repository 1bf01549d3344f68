"""The simulated dock: announces itself, takes commands, and can be watched and told things."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import aiomqtt
import orjson

from dockgate_server.simulate import inbox, replies
from dockgate_server.simulate.behaviour import Behaviour, Behaviours
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.link import Link
from dockgate_server.simulate.records import Changes, Happening, Key, Ledger, Received
from dockgate_server.simulate.work import Worker

_WAIT = 10.0


class SimulatedDock:
    """A dock with a drone, as seen from the cloud over MQTT.

    Entering starts it and returns at once, also if there is no broker yet; leaving stops it. It
    stands for the far side, so it shares no code with the gateway that it is used to test.
    """

    def __init__(
        self,
        config: DockConfig | None = None,
        *,
        on_happening: Callable[[Happening], None] | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare a dock; nothing happens before it is entered.

        Args:
            config: what it is and where it connects to.
            on_happening: called on the event loop with everything that happens; what it raises
                ends the dock.
            rng: source of the jitter.
            clock: the device's clock, seconds since 1970; it need not be right.
        """
        self.config = config or DockConfig()
        self._on_happening = on_happening
        self._clock = clock
        self._behaviours = Behaviours(self.config.behaviours)
        self._ledger = Ledger(self.config.remember)
        self._changes = Changes()
        self._link = Link(
            self.config,
            topics=inbox.topics(self.config.gateway),
            on_message=self._on_message,
            while_connected=self._be_present,
            happened=self._happened,
            changes=self._changes,
            rng=rng or random.Random(),  # noqa: S311 - jitter keeps no secret
        )
        self._main: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        # Both hold the number of a connection: what was said in the last one counts no more.
        self._announced: dict[str, int] = {}
        self._accepted_in = 0

    @property
    def received(self) -> Sequence[Received]:
        """Every message that came, in the order of arrival (the latest `config.remember`)."""
        return self._ledger.received

    @property
    def executions(self) -> Mapping[Key, int]:
        """How often a command with this key has come and would have been executed.

        The key is the tid or, for direct control, (method, seq). More than 1 means that someone
        sent a command twice: a dock that does not remember tids would have acted twice. This one
        answers again and starts no second job. Only (method, None) says nothing: it counts all
        commands of a method that have no seq.
        """
        return self._ledger.executions

    @property
    def unanswered_events(self) -> frozenset[str]:
        """The tids of the events that still wait for the cloud's answer."""
        return self._worker.unanswered if self._worker else frozenset()

    @property
    def subscribed(self) -> bool:
        """True while connected with all subscriptions in place: commands arrive."""
        return self._link.is_up

    @property
    def ready(self) -> bool:
        """True while connected and the cloud has answered the announcement."""
        return self._link.is_up and self._accepted_in == self._link.connections

    async def wait_subscribed(self, within: float = _WAIT) -> None:
        """Wait until commands arrive, whether or not a cloud has answered the announcement."""
        await self._until(lambda: self.subscribed, within, lambda: "the dock is not connected")

    async def wait_ready(self, within: float = _WAIT) -> None:
        """Wait until a cloud has answered the announcement with result 0."""
        await self._until(lambda: self.ready, within, lambda: "no cloud has answered update_topo")

    async def wait_received(
        self, count: int, *, on: str | None = "services", within: float = _WAIT
    ) -> list[Received]:
        """Wait until `count` messages have come since the start, and return those remembered.

        Args:
            count: how many.
            on: last part of the topic (services, set, down, events_reply, status_reply); None
                counts all.
            within: seconds after which TimeoutError says how many have come instead.
        """

        def come() -> int:
            counts = self._ledger.counts
            return counts.total() if on is None else counts[on]

        await self._until(
            lambda: come() >= count,
            within,
            lambda: f"{come()} of {count} messages on {on or 'any topic'} have come",
        )
        return [one for one in self.received if on is None or one.on == on]

    def behave(self, method: str | None, *behaviours: Behaviour) -> None:
        """Say how the next commands of a method (None: of all) are answered.

        A property goes by its name; a message that sets several is answered as its first. It
        replaces what was said about the method before; no behaviour at all forgets that.

        Raises:
            ValueError: two of the behaviours exclude each other.
        """
        self._behaviours.tell(method, behaviours)

    async def go_offline(self) -> None:
        """Leave the broker; returns when that is done. Jobs go on and report afterwards."""
        await self._link.go_offline()

    async def go_online(self) -> None:
        """Connect again; does not wait for it (`wait_subscribed`, `wait_ready` do)."""
        self._link.go_online()

    async def wait_stopped(self) -> None:
        """Wait until the dock has ended and raise what ended it, if anything did."""
        if self._main is not None:
            await asyncio.wait({self._main})
            if not self._main.cancelled():
                self._main.result()

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            RuntimeError: it was started before; a dock lives once.
        """
        if self._main is not None:
            raise RuntimeError("a simulated dock cannot be started twice")
        self._main = asyncio.create_task(self._run(), name=f"simulated {self.config.gateway}")
        # So that nobody waits for something that a dead dock will never do.
        self._main.add_done_callback(lambda _: self._changes.notify())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop: leave the broker, end all tasks; a failure inside the dock is raised here."""
        if self._main is not None:
            self._main.cancel()
            await self.wait_stopped()

    async def _run(self) -> None:
        # One group for all tasks: if any of them fails, the dock ends and says so.
        async with asyncio.TaskGroup() as tasks:
            self._worker = Worker(
                self.config,
                link=self._link,
                happened=self._happened,
                now_ms=self._now_ms,
                tasks=tasks,
            )
            await self._link.run(tasks)

    async def _be_present(self) -> None:
        await self._announce()
        if self._worker is not None:
            await self._worker.push()

    async def _announce(self) -> None:
        """Say who is here until somebody answers; begins anew in each connection."""
        self._announced.clear()
        while not self.ready:
            tid = str(uuid.uuid4())
            self._announced[tid] = self._link.connections
            message = replies.update_topo(
                drone=self.config.drone, tid=tid, bid=str(uuid.uuid4()), now_ms=self._now_ms()
            )
            self._happened("announced", f"{self.config.gateway} with {self.config.drone}", tid=tid)
            await self._link.publish(
                f"sys/product/{self.config.gateway}/status", orjson.dumps(message)
            )
            # The cloud may start later than the dock, so this is repeated.
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.announce_every):
                    await self._changes.until(lambda: self.ready)

    def _on_message(self, message: aiomqtt.Message) -> None:
        received = inbox.received(message)
        self._ledger.note(received)
        try:
            parsed = replies.read_message(received.payload)
            command = inbox.asked(received.on, parsed)
            if command is not None:
                self._on_command(command, received)
            elif received.on == "events_reply":
                self._on_events_reply(received)
            else:
                self._on_status_reply(received)
        except ValueError as error:
            # Nothing that a cloud sends may break a dock.
            self._happened("ignored", f"a message on {received.topic}: {error}", reason=str(error))
        self._changes.notify()

    def _on_command(self, command: inbox.Asked, received: Received) -> None:
        times = self._ledger.execute(command.key)
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
        if self._worker is not None:
            conduct = self._behaviours.conduct(command.method)
            self._worker.obey(command, conduct, is_new=times == 1)

    def _on_events_reply(self, received: Received) -> None:
        if self._worker is None or not self._worker.hear(received.tid or ""):
            raise ValueError(f"no event with tid {received.tid} waits for an answer")
        self._happened("acknowledged", f"{received.method} tid {received.tid}", tid=received.tid)

    def _on_status_reply(self, received: Received) -> None:
        if self._announced.get(received.tid or "") != self._link.connections:
            raise ValueError(f"no announcement has tid {received.tid}")
        result = received.data.get("result") if isinstance(received.data, dict) else None
        if result != 0:
            raise ValueError(f"the announcement was answered with result {result!r}, not 0")
        if not self.ready:
            self._accepted_in = self._link.connections
            self._happened("accepted", "the announcement was answered", tid=received.tid)

    async def _until(
        self, condition: Callable[[], bool], within: float, otherwise: Callable[[], str]
    ) -> None:
        def ended() -> bool:
            return self._main is None or self._main.done()

        try:
            async with asyncio.timeout(within):
                await self._changes.until(lambda: condition() or ended())
        except TimeoutError:
            raise TimeoutError(f"after {within:g} s {otherwise()}") from None
        if not condition():
            await self.wait_stopped()
            raise RuntimeError("the simulated dock is not running")

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _happened(self, kind: str, text: str, **details: object) -> None:
        if self._on_happening is not None:
            self._on_happening(Happening(self._now_ms(), kind, text, details))
