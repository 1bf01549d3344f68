"""The dispatcher on a real store and a manual clock; the test plays broker and dock."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson

from dockgate_server.bridge.interface import Inbound, NotConnected
from dockgate_server.codec import catalogue
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher import burst
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.errors import DockgateError
from dockgate_server.hub import Feed
from dockgate_server.inbound import wiring
from dockgate_server.inbound.events import Events
from dockgate_server.inbound.router import InboundRouter
from dockgate_server.model.command import Command, CommandEvent, EventKind, FailureCode, Status
from dockgate_server.store.sqlite import SqliteStore
from support.bridge import Published, ScriptedBridge
from support.clock import ManualClock
from support.records import CHARGE_OPEN, SETUP_ABORT, an_accept
from support.vault import VAULT

URGENT = "return_home"
"""An emergency method: it overtakes."""

METHODS = (SETUP_ABORT, CHARGE_OPEN, URGENT)


class BreakingBridge(ScriptedBridge):
    """Says that it is connected, yet cannot publish: its connection is just breaking."""

    broken = False

    def publish(self, topic: str, payload: bytes, expiry_seconds: int) -> Any:
        """Refuse, as long as it is broken."""
        if self.broken:
            raise NotConnected
        return super().publish(topic, payload, expiry_seconds)


@dataclass
class Rig:
    """The parts, and shorthands for what a test does with them."""

    clock: ManualClock
    bridge: Any
    store: SqliteStore
    registry: Registry
    presence: PresenceBook
    recorder: Recorder
    deadlines: Deadlines
    dispatcher: Dispatcher
    inbound: InboundRouter
    told: list[CommandEvent]
    _news: asyncio.Event
    acknowledged: list[str] = field(default_factory=list)

    async def accept(self, key: str | None = None, **changed: Any) -> str:
        """Submit a command; returns its id."""
        return (await self.submit(key, **changed)).command.id

    def submit(self, key: str | None = None, **changed: Any) -> asyncio.Future[Any]:
        """Submit a command, as of now by the clock."""
        now = self.clock.now_ms()
        seconds = changed.setdefault("timeout_seconds", 30)
        times = {"accepted_at": now, "deadline_at": now + seconds * 1000}
        new = an_accept(key, **{**times, **changed})
        method = catalogue.METHODS[new.command_type]
        return self.dispatcher.accept(new._replace(overtakes=method.spec.overtakes), method)

    async def now(self, command_id: str) -> Command:
        """The command as it is now."""
        command = await self.store.get_command("default", command_id)
        assert command is not None
        return command

    async def settle(self) -> None:
        """Let everything happen that can happen without the test doing something.

        All that the dispatcher does goes through the store's queue: what an empty change finds
        before itself is done when it is done. A few rounds, as one thing leads to another.
        """
        for _ in range(5):
            await self.store.forget_nonces(0)

    async def cannot_write(self, cannot: bool = True) -> None:
        """Take the store's permission to write away, or give it back."""
        pragma = f"PRAGMA query_only = {'ON' if cannot else 'OFF'}"
        await self.store._writer._connection.run(lambda db: db.execute(pragma).fetchall())

    async def store_failed(self) -> None:
        """The same while the store cannot write."""
        for _ in range(5):
            with contextlib.suppress(DockgateError):
                await self.store.forget_nonces(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has been committed."""
        async with asyncio.timeout(5):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def ended(self, command_id: str) -> tuple[Status, FailureCode | None]:
        """Wait for the command's end."""
        await self.until(
            lambda: any(e.command.id == command_id and e.command.status.is_end for e in self.told)
        )
        command = await self.now(command_id)
        return command.status, command.failure_code

    def kinds(self, command_id: str) -> list[EventKind]:
        """What has happened to a command."""
        return [event.kind for event in self.told if event.command.id == command_id]

    def sent(self) -> list[str]:
        """The commands that were published, in that order."""
        return [message.tid for message in self.bridge.published]

    def message(self, command_id: str) -> Published:
        """The one publish of a command."""
        (message,) = [one for one in self.bridge.published if one.tid == command_id]
        return message

    def connect(self, connected: bool = True) -> None:
        """The connection comes or goes."""
        self.bridge.connected = connected
        self.dispatcher.connection_changed()

    def receive(self, name: str, topic: str, content: object, *, comes_again: bool = True) -> None:
        """A message from a device; ``name`` is in ``acknowledged`` when it is acknowledged."""
        payload = content if isinstance(content, bytes) else orjson.dumps(content)
        acknowledge = lambda: self.acknowledged.append(name)  # noqa: E731
        self.inbound.receive(Inbound(topic, payload, acknowledge, comes_again))

    def reply(
        self,
        command_id: str,
        data: object = None,
        gateway: str = "dock-001",
        *,
        method: str | None = None,
        comes_again: bool = True,
    ) -> None:
        """The dock's answer to a command; without its method, as careless docks write it."""
        message = {"tid": command_id, "data": {"result": 0} if data is None else data}
        if method is not None:
            message["method"] = method
        topic = f"thing/product/{gateway}/services_reply"
        self.receive(command_id, topic, message, comes_again=comes_again)


Start = Callable[..., AbstractAsyncContextManager[Rig]]


@asynccontextmanager
async def starting(
    database: Path,
    bridge: Any = None,
    clock: ManualClock | None = None,
    *,
    bursts: bool = False,
    **options: Any,
) -> AsyncIterator[Rig]:
    """The parts, started; a second time on the same database is a gateway started again.

    On a clock that stands still everything comes at once: without ``bursts`` that is none.
    """
    bridge, clock = bridge or ScriptedBridge(), clock or ManualClock()
    told: list[CommandEvent] = []
    news = asyncio.Event()

    def committed(events: Sequence[CommandEvent]) -> None:
        dispatcher.committed(events)
        told.extend(events)
        news.set()

    fewest = burst.FEWEST_ACCEPTED if bursts else math.inf
    async with SqliteStore(database, committed) as store:
        recorder = Recorder(store, clock)
        deadlines = Deadlines(recorder, clock)
        presence = PresenceBook(clock)
        registry = Registry(store.devices, presence)
        dispatcher = Dispatcher(
            store, bridge, deadlines, recorder, presence, registry, clock, VAULT, **options
        )
        events = Events(bridge, store.events, Feed(), clock, lambda _: None)
        inbound = wiring.router(
            bridge, registry, presence, recorder, clock, events, dispatcher.outstanding
        )
        await registry.load()
        await dispatcher.recover()
        running = asyncio.create_task(dispatcher.run())
        parts = (clock, bridge, store, registry, presence, recorder, deadlines, dispatcher, inbound)
        try:
            with patch.object(burst, "FEWEST_ACCEPTED", fewest):
                yield Rig(*parts, told, news)
        finally:
            deadlines.close()
            running.cancel()
            (ended,) = await asyncio.gather(running, return_exceptions=True)
            assert isinstance(ended, asyncio.CancelledError), ended
