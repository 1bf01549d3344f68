"""One history: a seed, a number of lives, and what came of them."""

import gc
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.device import Device
from simulation import patches
from simulation.broker import Broker
from simulation.callers import Callers, Watch
from simulation.conduct import Conduct
from simulation.dock import Dock
from simulation.gateway import Gateway
from simulation.record import Record
from simulation.world import World

_DOCKS = 4
_MOST_ROUNDS = 20
_AFTERMATH_SECONDS = 30.0
"""For what is still on its way when the last deadline has passed."""
_LAST_WORD_SECONDS = 1.0
"""For an answer that a dock gives at the very end of that."""


@dataclass(slots=True)
class Outcome:
    """What came of a history."""

    seed: int
    lives: int = 0
    commits: int = 0
    publishes: int = 0
    starts: int = 0
    """How often the gateway was started."""
    seconds: float = 0.0
    """Of virtual time."""
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    trace: list[str] | None = None


class History:
    """Everything that takes part in one history."""

    def __init__(self, world: World, lives: int, folder: Path) -> None:
        self.world = world
        self.lives = lives
        self.record = Record(world)
        self.conduct = Conduct(world, self.record)
        self.broker = Broker(world, self.conduct.handing_over)
        names = [f"dock-{number}" for number in range(1, _DOCKS + 1)]
        devices = [Device(DEFAULT_TENANT, name, name) for name in names]
        self.docks = [
            Dock(world, name, self.broker, self.record, self.conduct.executed) for name in names
        ]
        for number, dock in enumerate(self.docks, start=1):
            dock.others = [other for other in self.docks if other is not dock]
            dock.drones = (f"drone-{number}",)
            devices.append(Device(DEFAULT_TENANT, dock.drones[0], dock.name))
        self.gateway = Gateway(
            world, self.record, self.conduct, self.broker, devices, folder / "simulated.db"
        )
        ids = [device.id for device in devices]
        self.callers = Callers(world, self.gateway, self.record, ids)

    def run(self) -> None:
        """From the first start to the end of the last command."""
        world = self.world
        self.gateway.start()
        for dock in self.docks:
            world.after(world.random(), dock.connect)
        watch = Watch(self.callers, None, follow_job=False)
        self.callers.watches.append(watch)
        world.after(0.5, watch.open)
        rounds = 0
        while (missing := self.lives - len(self.record.lives)) > 0 and not world.violations:
            last = self._plan_submissions(missing)  # what was refused is made up for
            self._plan_trouble(last)
            world.run(last + 2.0)
            rounds += 1
            if rounds > _MOST_ROUNDS:
                world.violate("hardly anything is accepted")
        world.calm = True
        self.record.disk.heal()
        for one in (self.gateway, *self.docks):
            one.calm_down()
        world.run(world.now + _AFTERMATH_SECONDS)  # whoever was away is back by then
        for life in self.record.open.values():
            # What is late by the wall clock is not sent, though that may have stepped ahead.
            late = life.deadline_at <= world.wall_ms()
            if not (life.intents or life.alone or late):
                world.violate(f"{life} was not sent, although its dock is there")
        deadlines = [life.due[1] for life in self.record.open.values()]
        world.run(max(world.now, *deadlines, 0.0) + _AFTERMATH_SECONDS)
        self._check_works()
        if not world.violations:
            self._check_end()

    def _check_works(self) -> None:
        """Whatever there was, everything can be sent and answered again."""
        keys = self.callers.submit_to_all()
        self.world.run(self.world.now + _AFTERMATH_SECONDS)
        for key in keys:
            life = self.record.by_key.get(key)
            if life is None or life.state["status"] != "SUCCEEDED":
                self.world.violate(f"{life or key} did not succeed when all was well again")

    def _plan_submissions(self, count: int) -> float:
        """In bursts, with pauses between them; returns when the last one comes."""
        world, rng = self.world, self.world.rng
        now, rate = 0.3, rng.choice((4.0, 10.0, 25.0))
        while count:
            burst = min(count, rng.choice((1, 1, 1, 2, 5, 30)))
            for _ in range(burst):
                world.after(now + 0.02 * world.random(), self.callers.submit)
            count -= burst
            now += rng.expovariate(rate / 4)
        return world.now + now

    def _plan_trouble(self, until: float) -> None:
        """What goes wrong by itself, whoever does whatever."""
        world, rng = self.world, self.world.rng
        disk = self.record.disk

        def at_times(mean: float, fault: str, cause: Callable[[], None]) -> None:
            mean /= world.intensity(fault)
            now = rng.expovariate(1 / mean)
            while world.now + now < until:
                world.after(now, strike, fault, cause)
                now += rng.expovariate(1 / mean)

        def strike(fault: str, cause: Callable[[], None]) -> None:
            world.struck(fault)
            cause()

        def fail_disk() -> None:
            seconds = 0.0 if world.random() < 0.5 else world.between(0.05, 3.0)
            disk.fail(seconds, reading=world.random() < 0.3)

        def restart_broker() -> None:
            memory = world.random() < 0.7
            self.broker.restart(world.between(0.1, 3.0), with_memory=memory)

        def step_clock() -> None:
            before = world.wall_ms()
            world.step_wall_clock(rng.choice((-30.0, -1.5, -0.2, 0.2, 1.5, 30.0)))
            self.record.clock_stepped(before)

        at_times(12.0, "disk failed", fail_disk)
        at_times(25.0, "broker restarted", restart_broker)
        at_times(20.0, "wall clock stepped", step_clock)

    def _check_end(self) -> None:
        """What must hold when everything has come to its end."""
        world, record, callers = self.world, self.record, self.callers
        for life in record.open.values():
            world.violate(f"{life} has not ended: {life.state}")
        for key, command_id in callers.accepted.items():
            if record.by_id.get(command_id) is not record.by_key.get(key):
                world.violate(f"{key} was accepted as {command_id} and is not recorded")
        for key, was_refused in callers.refused.items():
            if was_refused and key not in callers.accepted and key in record.by_key:
                world.violate(f"{key} was refused, and is recorded")
        for watch in callers.watches:
            watch.check()
        self._check_at_rest()

    def _check_at_rest(self) -> None:
        process = self.gateway.process
        if process is None or process.commands is None:
            self.world.violate("the gateway does not run")
            return
        if len(self.broker.sessions["gateway"]):
            # A late answer may have come in the very last moment.
            self.world.run(self.world.now + _LAST_WORD_SECONDS)
        at_rest = {
            "backlog": process.dispatcher.backlog,
            "in flight": process.dispatcher._window.in_flight,
            "reserved": process.dispatcher._window.reserved,
            "unplaced": process.dispatcher._window.unplaced,
            "deadlines": len(process.deadlines),
            "jobs": len(process.jobs),
            "unacknowledged messages of docks": len(self.broker.sessions["gateway"]),
        }
        for what, count in at_rest.items():
            if count:
                self.world.violate(f"not at rest: {what} is {count}")
        for task in process.tasks:
            if task.done():
                self.world.violate(f"the task {task!r} has ended")


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """No garbage is collected meanwhile: when it would be depends on what ran before."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def run(
    seed: int,
    lives: int,
    *,
    tracing: bool = False,
    emphasis: Mapping[str, float] | None = None,
) -> Outcome:
    """Run one history from its beginning to its end, or to the first violation."""
    world = World(seed, tracing=tracing, emphasis=emphasis)
    with tempfile.TemporaryDirectory() as folder, _collecting_nothing():
        history = History(world, lives, Path(folder))
        record = history.record
        with patches.applied(world):
            history.run()
        outcome = Outcome(
            seed,
            lives=len(record.lives),
            commits=record.disk.commits,
            publishes=history.conduct.publishes,
            starts=history.gateway.starts,
            seconds=world.now,
            faults=world.faults,
            violations=world.violations,
            trace=world.trace,
        )
        for life in record.lives.values():
            end = life.state["status"]
            outcome.ends[f"{end} {life.state.get('failure_code', '')}".strip()] += 1
        if history.gateway.process is not None:
            history.gateway.process.loop.kill()
            history.gateway.process.loop.bury()
        record.disk.close()
    return outcome
