"""The gateway's process: started, killed anywhere, stopped politely, started again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from support.vault import VAULT

from dockgate_server.bridge.interface import Inbound
from dockgate_server.clock import Handle
from dockgate_server.commands import Commands, Permissions
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.dispatcher.jobs import Jobs
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.errors import DockgateError
from dockgate_server.hub import Feed, Hub
from dockgate_server.inbound import wiring
from dockgate_server.inbound.events import Events
from dockgate_server.model.command import CommandEvent
from dockgate_server.model.device import Device
from dockgate_server.model.transitions import Transition
from dockgate_server.store.interface import OnCommit
from dockgate_server.store.sqlite import SqliteStore, StoreProblem
from simulation.bridge import SimulatedBridge
from simulation.broker import Broker
from simulation.conduct import Conduct
from simulation.loop import VirtualLoop
from simulation.record import Record
from simulation.world import World

_STOP_SECONDS = 10.0
_HEARTBEAT_SECONDS = 15.0


class StutteringStore(SqliteStore):
    """Is asked for some changes twice: the guards make the second time one without effect."""

    def __init__(self, world: World, path: Path, on_commit: OnCommit) -> None:
        super().__init__(path, on_commit, exclusive=False)
        self._world = world

    def apply(self, transition: Transition) -> "asyncio.Future[tuple[CommandEvent, ...]]":
        """See :class:`~dockgate_server.store.interface.Store`."""
        applied = super().apply(transition)
        if self._world.strikes("change asked for twice", 0.004):
            # What becomes of the second one is nobody's business.
            super().apply(transition).add_done_callback(asyncio.Future.exception)
        return applied


class WorldClock:
    """The clock of a process: its wall clock may step, its monotonic one does not."""

    def __init__(self, world: World, loop: VirtualLoop) -> None:
        self._world = world
        self._loop = loop

    def now_ms(self) -> int:
        """See :class:`~dockgate_server.clock.Clock`."""
        return self._world.wall_ms()

    def monotonic(self) -> float:
        """See :class:`~dockgate_server.clock.Clock`."""
        return self._world.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """See :class:`~dockgate_server.clock.Clock`."""
        return self._loop.call_at(when, callback)


class Process:
    """One process of the gateway, wired as ``app/parts.py`` wires it.

    Args:
        gateway: Whose process it is.
        kill_after: After how many steps it is killed; None for never.
    """

    def __init__(self, gateway: "Gateway", kill_after: int | None) -> None:
        self._gateway = gateway
        self._world = gateway.world
        self.loop = VirtualLoop(gateway.world, kill_after, gateway.kill)
        self.loop.disk = gateway.record.disk
        self.commands: Commands | None = None
        """The use cases, as long as they can be asked."""
        self.calls: dict[Call, None] = {}
        self.bridge: SimulatedBridge | None = None
        self.loop.call_soon(self._start)

    def _start(self) -> None:
        self.loop.create_task(self._run())

    async def _run(self) -> None:
        gateway, world, loop = self._gateway, self._world, self.loop
        clock = WorldClock(world, loop)
        hub = Hub()
        presence = PresenceBook(clock)

        def committed(events: Sequence[CommandEvent]) -> None:
            if loop.alive:
                gateway.record.told(events)
            dispatcher.committed(events)
            jobs.committed(events)
            hub.publish(events)

        def received(message: Inbound) -> None:
            inbound.receive(message)

        def connection_changed(connected: bool) -> None:
            if connected and not bridge.session_kept:
                presence.forget()
                registry.forget_aircraft()
            dispatcher.connection_changed()
            inbound.connection_changed()

        store = StutteringStore(world, gateway.database, committed)
        try:
            await store.__aenter__()
            self.bridge = bridge = SimulatedBridge(
                world,
                loop,
                gateway.broker,
                gateway.conduct,
                received,
                connection_changed,
                gateway.kill,
            )
            recorder = Recorder(store, clock)
            self.deadlines = deadlines = Deadlines(recorder, clock)
            self.jobs = jobs = Jobs(recorder, clock)
            registry = Registry(store.devices, presence, gateway.devices)
            self.dispatcher = dispatcher = Dispatcher(
                store, bridge, deadlines, recorder, presence, registry, clock, VAULT
            )
            events = Events(bridge, store.events, Feed(), clock, jobs.heard)
            inbound = wiring.router(
                bridge, registry, presence, recorder, clock, events, dispatcher.outstanding
            )
            self.hub = hub
            commands = Commands(
                store,
                dispatcher,
                hub,
                registry,
                clock,
                VAULT,
                heartbeat_seconds=_HEARTBEAT_SECONDS,
                permissions=Permissions(raw_methods=False, control_streams=True),
            )
            await registry.load()
            hub.start_from(await store.newest_event_seq())
            await dispatcher.recover()
            await jobs.recover(store)
        except (StoreProblem, DockgateError) as problem:
            world.note("gateway", "cannot start", type(problem).__name__)
            gateway.kill()
            return
        gateway.record.started()
        self._stopping = asyncio.Event()
        dispatching = loop.create_task(dispatcher.run())
        self.tasks = (store.writing, dispatching)
        bridge.start()
        self.commands = commands
        await self._stopping.wait()
        # As the application stops.
        commands.stop_accepting()
        hub.close()
        self.commands = None
        if serving := [call.task for call in self.calls if call.task is not None]:
            await asyncio.wait(serving, timeout=_STOP_SECONDS)
        await dispatcher.drain(_STOP_SECONDS)
        deadlines.close()
        jobs.close()
        bridge.stop()
        dispatching.cancel()
        await asyncio.wait((dispatching,))
        self.tasks = ()
        await store.__aexit__(None, None, None)
        gateway.kill()

    def stop(self) -> None:
        """SIGTERM."""
        if self.commands is not None:
            self._stopping.set()


class Call:
    """A call of a client to the gateway: it may never arrive, and its answer neither.

    Args:
        gateway: Whom it is made to.
        ask: What is asked.
        answered: Is given the answer, or the exception in its place.
        patience: Seconds after which the client gives it up.
    """

    __slots__ = ("_answered", "_ask", "_gateway", "_process", "task")

    def __init__(
        self,
        gateway: "Gateway",
        ask: Callable[[Commands], Awaitable[Any]],
        answered: Callable[[Any], None],
        patience: float,
    ) -> None:
        self._gateway = gateway
        self._ask = ask
        self._answered: Callable[[Any], None] | None = answered
        self._process: Process | None = None
        self.task: asyncio.Task[Any] | None = None
        """What serves it in the gateway."""
        world = gateway.world
        world.after(0.001 * world.random(), self._arrive)
        world.after(patience, self._give_up)

    def lost(self) -> None:
        """The process has died."""
        self._gateway.world.after(0.01, self._answer, ConnectionError("the connection ended"))

    def _arrive(self) -> None:
        process = self._gateway.process
        if process is None or process.commands is None:
            self._answer(ConnectionError("nobody is there"))
            return
        self._process = process
        process.calls[self] = None
        process.loop.call_soon(self._begin, process.commands)

    def _begin(self, commands: Commands) -> None:
        assert self._process is not None
        self.task = self._process.loop.create_task(self._serve(commands))

    async def _serve(self, commands: Commands) -> None:
        assert self._process is not None
        try:
            answer = await self._ask(commands)
        except (Exception, asyncio.CancelledError) as error:
            # Without its traceback, whose frames would live until a garbage collection.
            answer = error.with_traceback(None)
        self._process.calls.pop(self, None)
        if self._process.loop.alive:
            world = self._gateway.world
            world.after(0.001 * world.random(), self._answer, answer)

    def _answer(self, answer: Any) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(answer)

    def _give_up(self) -> None:
        """The client waits no longer; the server cancels the handler at its next await."""
        if self._answered is None:
            return
        self._gateway.world.faults["caller gave up"] += 1
        if self.task is not None and self._process is not None and self._process.loop.alive:
            self._process.loop.call_soon(self.task.cancel)
        self._answer(TimeoutError("gave up"))


class Gateway:
    """The gateway over all its processes.

    Args:
        world: Time and chance.
        record: The database.
        conduct: Watches what is published.
        broker: Where it connects.
        devices: What the configuration names.
        database: A file that the store may make; what it writes goes to the record's disk.
    """

    def __init__(
        self,
        world: World,
        record: Record,
        conduct: Conduct,
        broker: Broker,
        devices: Sequence[Device],
        database: Path,
    ) -> None:
        self.world = world
        self.record = record
        self.conduct = conduct
        self.broker = broker
        self.devices = devices
        self.database = database
        self.process: Process | None = None
        self.starts = 0
        self.name = "gateway"
        broker.add(self, kept=True)

    def receive(self, *arrived: Any) -> None:
        """What the broker sends goes to the process that is connected."""
        if self.process is not None and self.process.bridge is not None:
            self.process.bridge.receive(*arrived)

    def start(self) -> None:
        """Start a process, if there is none."""
        if self.process is not None:
            return
        world = self.world
        self.starts += 1
        kill_after = None
        if world.strikes("gateway killed", 0.75):
            steps = 60 if world.random() < 0.3 else 3000
            kill_after = int(world.rng.expovariate(1 / steps))
        world.note("gateway", "starts")
        self.record.starting()
        self.process = Process(self, kill_after)
        if world.strikes("gateway stopped", 0.25):
            world.after(world.between(0.1, 10), self._stop, self.process)

    def kill(self) -> None:
        """SIGKILL: whatever it is doing, it goes no further."""
        process = self.process
        if process is None:
            return
        world = self.world
        world.note("gateway", "is dead")
        self.process = None
        self.record.down_since = min(self.record.down_since, world.now)
        process.loop.kill()
        if process.bridge is not None:
            process.bridge.stop()
        for call in process.calls:
            call.lost()
        down = world.rng.expovariate(1 / 1.5) if world.random() < 0.4 else 0.05
        world.after(min(down, 8.0), self.start)

    def calm_down(self) -> None:
        """Faults are over: the process that runs goes on running."""
        if self.process is not None:
            self.process.loop.spare()
            if self.process.bridge is not None:
                self.process.bridge.calm_down()

    def _stop(self, process: Process) -> None:
        if self.process is process and not self.world.calm:
            process.stop()
