"""The jobs under way: each reports step by step; a flight can be stopped and taken up again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dockgate_server.simulate import flights
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.replies import Command
from dockgate_server.simulate.reports import ENDS, Job, Report

_PAUSES, _RESUMES, _HOME = "flighttask_pause", "flighttask_recovery", "return_home"
_GIVES_UP = ("flighttask_undo", "flighttask_stop", "flight_setup_abort")
_CONTROLS = (_PAUSES, _RESUMES, _HOME, *_GIVES_UP)


@dataclass(slots=True)
class _Run:
    """One job under way.

    Attributes:
        job: the job.
        ahead: what it has not reported yet.
        last: what it has reported last, or the first that it will report.
        is_paused: it waits to be told to go on.
        is_given_up: it only reports its end.
        task: reports; another one after each interruption.
    """

    job: Job
    ahead: deque[Report]
    last: Report
    is_paused: bool = False
    is_given_up: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Runs:
    """Runs jobs, each in a task of its own."""

    def __init__(
        self,
        config: DockConfig,
        *,
        report: Callable[[Report], Awaitable[None]],
        before_takeoff: Callable[[str], Awaitable[None]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Take what a job needs.

        Args:
            config: the pace of jobs.
            report: says a report.
            before_takeoff: returns when the flight with this flight_id may leave the ground.
            tasks: runs and supervises what is started here.
        """
        self._config = config
        self._report = report
        self._before_takeoff = before_takeoff
        self._tasks = tasks
        self._runs: dict[str, _Run] = {}

    @property
    def is_airborne(self) -> bool:
        """True while the drone is in the air."""
        return any(run.job.flight_id and flights.is_airborne(run.last) for run in self._all())

    def start(self, job: Job) -> None:
        """Run a job, in the place of one with the same key."""
        earlier = self._runs.pop(job.key, None)
        if earlier is not None and earlier.task is not None:
            earlier.task.cancel()
        if job.reports:
            run = _Run(job, deque(job.reports), job.reports[0])
            self._runs[job.key] = run
            self._go(run)

    def control(self, command: Command) -> None:
        """Stop flights, or let them go on, if that is what the command is for.

        It is for the flights that it names or, as on recorded flights, names none: for all.
        """
        if command.method not in _CONTROLS:
            return
        named = command.member("flight_ids")
        listed = [*(named if isinstance(named, list) else ()), command.member("flight_id")]
        names = {name for name in listed if isinstance(name, str) and name}
        for run in self._all():
            flight_id = run.job.flight_id
            is_meant = flight_id is not None and (not names or flight_id in names)
            if is_meant and not run.is_given_up and run.last.state not in ENDS:
                self._control(run, command.method)

    def _control(self, run: _Run, method: str) -> None:
        if method == _PAUSES and not run.is_paused:
            run.is_paused = True
            self._go(run, *flights.paused(run.last))
        elif method == _RESUMES and run.is_paused:
            run.is_paused = False
            self._go(run, *flights.resumed(run.last))
        elif method == _HOME and flights.is_airborne(run.last):
            stopped = flights.paused(run.last, flights.RETURN_HOME)
            end = flights.canceled(stopped[-1], result=flights.CALLED_HOME)
            self._give_up(run, end, *stopped)
        elif method == _HOME or method in _GIVES_UP:
            self._give_up(run, flights.canceled(run.last))

    def _give_up(self, run: _Run, end: Report, *at_once: Report) -> None:
        run.is_paused, run.is_given_up = False, True
        run.ahead = deque((end,))
        self._go(run, *at_once)

    def _all(self) -> tuple[_Run, ...]:
        return tuple(self._runs.values())

    def _go(self, run: _Run, *at_once: Report) -> None:
        """Report this now, then the rest step by step; what the job did before is interrupted."""
        if run.task is not None:
            run.task.cancel()
        run.task = self._tasks.create_task(
            self._work(run, at_once), name=f"{self._config.gateway} {run.job.key}"
        )

    async def _work(self, run: _Run, at_once: tuple[Report, ...]) -> None:
        for report in at_once:
            await self._say(run, report)
        while run.ahead and not run.is_paused:
            await asyncio.sleep(self._config.step_every)
            report = run.ahead[0]
            if report.after_requests and run.job.flight_id is not None:
                await self._before_takeoff(run.job.flight_id)
            run.ahead.popleft()
            await self._say(run, report)
        if not run.is_paused and self._runs.get(run.job.key) is run:
            del self._runs[run.job.key]

    async def _say(self, run: _Run, report: Report) -> None:
        # Before it is said: a command that comes meanwhile must see how far the job is.
        run.last = report
        await self._report(report)
