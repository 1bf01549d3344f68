"""One run: everything started, the storm, the silence after it, and the verification."""

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import clients, database, figures, verification, watchers
from chaos.clients import Notebook
from chaos.evidence import Evidence, Violation, Watch
from chaos.load import Load
from chaos.plan import Outcome, Plan
from chaos.processes import (
    READY_SECONDS,
    Broker,
    Docks,
    NotReady,
    Server,
    choose_ports,
    ended_at_the_end,
)
from chaos.record_checks import LATE_MS
from chaos.report import Report
from chaos.storm import Storm
from chaos.tap import Tap

_WATCHED = 0.4
"""How many of the commands have a watch of their own."""
_QUIET_SECONDS = 15.0
_TAP_SECONDS = 0.05
"""So that a kill meets messages under way: on one machine, acknowledgements come at once."""


async def run(plan: Plan, report: Report) -> Outcome:
    """Do it all; the folder with database and logs stays if something was wrong."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="dockgate-chaos-"))
    try:
        shown, violations = await _judged(plan, folder, report)
    except asyncio.CancelledError:
        shutil.rmtree(folder)
        raise
    except BaseException as error:
        error.add_note(f"database and logs are kept in {folder}")
        raise
    if not violations:
        shutil.rmtree(folder)
    seconds = time.monotonic() - began
    return Outcome(plan, shown, violations, folder if violations else None, seconds)


async def _judged(
    plan: Plan, folder: Path, report: Report
) -> tuple[dict[str, int], list[Violation]]:
    shown: dict[str, int] = {}
    try:
        evidence, shown = await _evidence(plan, folder, report)
        report.phase("verifying")
        violations = verification.verify(evidence)
    except* NotReady as problems:
        violations = [Violation("does not start", "", str(one)) for one in _single(problems)]
    return shown, violations


def _single(group: BaseExceptionGroup[NotReady]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _single(one)
        else:
            yield one


@dataclass(slots=True)
class _Stage:
    """All processes, running, and the clients' connection."""

    server: Server
    broker: Broker
    docks: Docks
    tap: Tap
    stub: Any


async def _evidence(plan: Plan, folder: Path, report: Report) -> tuple[Evidence, dict[str, int]]:
    """Run the storm and collect what is left of it, with its figures."""
    notebook = Notebook()
    report.phase("starting")
    async with _stage(plan, folder) as stage:
        fleet = watchers.FleetWatch(stage.stub, notebook)
        asker = watchers.Asker(stage.stub, random.Random(plan.seed + 1), notebook)
        async with asyncio.TaskGroup() as background:
            looking = [
                background.create_task(fleet.run(), name="fleet-watch"),
                background.create_task(asker.run(), name="asker"),
            ]
            async with asyncio.timeout(READY_SECONDS):
                await fleet.began.wait()
            storm, load, watches = await _storm(plan, stage, notebook, asker, report)
            report.phase("waiting for the last events")
            await stage.docks.stop()
            await _until_quiet(stage.server.database, fleet)
            report.phase("asking for everything")
            listed, got = await asker.all_listed(), await asker.all_got()
            for task in looking:
                task.cancel()
        await stage.server.stop()
    stored, events = database.read(stage.server.database)
    noticed = [Violation("tap", "", problem) for problem in stage.tap.problems]
    evidence = Evidence(
        accepted=load.accepted,
        published=stage.tap.published,
        answered=stage.tap.answered,
        received=stage.docks.received,
        absences=stage.docks.absences,
        watches=watches,
        fleet=fleet.events,
        ends=notebook.ends,
        listed=listed,
        got=got,
        stored=stored,
        events=events,
        outages=stage.server.outages(),
        log=stage.server.log.read_text().splitlines(),
        noticed=[*notebook.violations, *stage.server.violations, *noticed],
    )
    shown = figures.of_storm(storm, load) | figures.of_evidence(evidence)
    shown |= figures.of_redeliveries(evidence, stage.tap.redelivered)
    return evidence, shown


@contextlib.asynccontextmanager
async def _stage(plan: Plan, folder: Path) -> AsyncIterator[_Stage]:
    tap_port, broker_port, grpc_port = choose_ports(3)
    workers = {"DOCKGATE_GRPC__WORKERS": str(plan.workers)}
    server = Server(folder, grpc_port, tap_port, workers)
    broker = Broker(folder, broker_port)
    docks = Docks(plan.docks, broker_port, folder / "docks.log")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(ended_at_the_end(broker))
        await broker.start()
        tap = await stack.enter_async_context(Tap(tap_port, broker_port, _TAP_SECONDS))
        await stack.enter_async_context(ended_at_the_end(server))
        await server.start()
        await stack.enter_async_context(ended_at_the_end(docks))
        await docks.start()
        await server.until_ready()
        await docks.until_accepted()
        stub = await stack.enter_async_context(clients.connected(server.address))
        yield _Stage(server, broker, docks, tap, stub)


async def _storm(
    plan: Plan, stage: _Stage, notebook: Notebook, asker: watchers.Asker, report: Report
) -> tuple[Storm, Load, list[Watch]]:
    """Load and storm together, then time for every deadline to pass."""
    rng = random.Random(plan.seed)
    stop = asyncio.Event()
    watching: list[asyncio.Task[Watch]] = []

    def accepted(command_id: str) -> None:
        asker.known.append(command_id)
        if rng.random() < _WATCHED:
            watch = watchers.watch(stage.stub, notebook, command_id)
            watching.append(asyncio.create_task(watch, name=f"watch-{command_id}"))

    def killed() -> None:
        report.kill(storm.kills, storm.broker_restarts, len(load.accepted))

    load = Load(
        stage.stub,
        stage.docks.drones,
        plan.rate,
        plan.longest_timeout,
        random.Random(plan.seed + 2),
        notebook,
        accepted,
    )
    storm = Storm(
        stage.server,
        stage.broker,
        random.Random(plan.seed + 3),
        plan.kills,
        plan.broker_restarts,
        killed,
    )
    report.phase("raging")
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load.run(stop), name="load")
            await storm.run()
            await asyncio.sleep(plan.calm_seconds)
            stop.set()
        report.phase("waiting for the last deadlines")
        await asyncio.sleep(plan.longest_timeout + LATE_MS / 1000)
    finally:
        for task in watching:
            task.cancel()
        watches = await asyncio.gather(*watching)
    return storm, load, watches


async def _until_quiet(file: Path, fleet: watchers.FleetWatch) -> None:
    """Wait until the fleet watch has shown as much as there is, or clearly never will."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_QUIET_SECONDS):
            quiet = 0
            while quiet < 2:
                await asyncio.sleep(0.3)
                is_level = database.count_events(file) == len(fleet.events)
                quiet = quiet + 1 if is_level else 0
