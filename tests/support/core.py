"""The inside of the gateway without its transports: real store, scripted bridge."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from dockgate_server.clock import Clock, SystemClock
from dockgate_server.commands import Commands
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.hub import Hub
from dockgate_server.limits import Limits, unlimited
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import CommandEvent, CommandFilter
from dockgate_server.model.device import Device
from dockgate_server.model.reply import Reply
from dockgate_server.model.transitions import RecordReply
from dockgate_server.store.sqlite import SqliteStore
from dockgate_server.supervision import Supervisor
from support.bridge import ScriptedBridge
from support.vault import VAULT

DEVICES = (
    Device(DEFAULT_TENANT, "drone-001", "dock-001"),
    Device(DEFAULT_TENANT, "dock-001", "dock-001"),
)


@dataclass
class Core:
    """The parts, wired as the application wires them."""

    store: SqliteStore
    bridge: ScriptedBridge
    hub: Hub
    registry: Registry
    dispatcher: Dispatcher
    commands: Commands

    async def reply(self, command_id: str, data: object, **changed: Any) -> None:
        """Let the dock answer a command; returns when the answer is recorded."""
        values = {
            "gateway_id": "dock-001",
            "tid": command_id,
            "method": None,
            "received_at": 1_776_859_203_000,
            **changed,
        }
        reply = Reply(data=data, raw_data=orjson.dumps(data), **values)
        await self.store.apply(RecordReply(reply))

    async def stored(self) -> int:
        """How many commands there are."""
        page = await self.store.list_commands(DEFAULT_TENANT, CommandFilter(), None, 1000)
        return len(page.commands)


@asynccontextmanager
async def running(
    database: Path,
    bridge: ScriptedBridge,
    clock: Clock | None = None,
    heartbeat_seconds: float = 15.0,
    limits: Limits | None = None,
) -> AsyncIterator[Core]:
    """The parts, started; stopped at the end."""
    clock = clock or SystemClock()
    limits = limits or unlimited()
    hub = Hub()

    def committed(events: Sequence[CommandEvent]) -> None:
        dispatcher.committed(events)
        limits.open_commands.committed(events)
        hub.publish(events)

    async with SqliteStore(database, committed) as store:
        recorder = Recorder(store, clock)
        deadlines = Deadlines(recorder, clock)
        presence = PresenceBook(clock)
        registry = Registry(store.devices, presence, DEVICES)
        dispatcher = Dispatcher(
            store, bridge, deadlines, recorder, presence, registry, clock, VAULT
        )
        commands = Commands(
            store,
            dispatcher,
            hub,
            registry,
            clock,
            VAULT,
            heartbeat_seconds=heartbeat_seconds,
            limits=limits,
        )
        await registry.load()
        hub.start_from(await store.newest_event_seq())
        limits.open_commands.recover(await store.open_places())
        await dispatcher.recover()
        async with Supervisor() as supervisor:
            supervisor.start("dispatcher", dispatcher.run())
            yield Core(store, bridge, hub, registry, dispatcher, commands)
        deadlines.close()
