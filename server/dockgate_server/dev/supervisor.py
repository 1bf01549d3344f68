"""Starts everything, shows the demonstration, stays up, and ends everything."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from dockgate_server.dev import demo, paste, stack
from dockgate_server.dev.brokers import Broker
from dockgate_server.dev.children import Children
from dockgate_server.dev.report import Report
from dockgate_server.dev.stack import Ports

Result = TypeVar("Result")

_END_SHOWS_SECONDS = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """A signal asked for the end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started and for how long.

    Attributes:
        broker: The broker.
        ports: Where to listen.
        data: The folder for the database; None for one that is thrown away.
        once: End after the demonstration.
    """

    broker: Broker
    ports: Ports
    data: Path | None
    once: bool


async def run(plan: Plan, report: Report) -> bool:
    """Do it all; gives whether both commands of the demonstration succeeded.

    Raises:
        ChildProblem: Something does not start, or has ended.
        DemoProblem: A call of the demonstration failed.
        Interrupted: A signal came before the demonstration was over.
    """
    started = time.perf_counter()
    asked = asyncio.Event()
    with TemporaryDirectory(prefix="dockgate-dev-") as scratch:
        async with Children() as children:
            with _signals(asked.set, children.kill_all):
                starting = stack.start(
                    children, plan.broker, plan.ports, plan.data or Path(scratch), Path(scratch)
                )
                everything = await _unless(asked, starting)
                report.ready(everything, time.perf_counter() - started)
                outcomes = await _unless(asked, demo.run(everything, report), children)
                if not plan.once:
                    calls = paste.commands(everything, outcomes[-1].command_id)
                    report.commands(calls, paste.curl(everything))
                    with contextlib.suppress(Interrupted):
                        await _unless(asked, demo.show_all(everything, report), children)
                report.stopping()
    return all(outcome.succeeded for outcome in outcomes)


async def _unless(
    asked: asyncio.Event, work: Coroutine[Any, Any, Result], children: Children | None = None
) -> Result:
    """Work, unless a signal comes or a child ends.

    Raises:
        Interrupted: A signal came.
        ChildProblem: A child has ended.
    """
    working = asyncio.create_task(work, name="work")
    stopping = asyncio.create_task(asked.wait(), name="signal")
    tasks: set[asyncio.Task[Any]] = {working, stopping}
    ending = None
    if children is not None:
        ending = asyncio.create_task(children.first_end(), name="first-end")
        tasks.add(ending)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            raise Interrupted
        if ending is not None and working.done() and working.exception() is not None:
            # A child's end often shows first as a call that fails, which explains nothing.
            await asyncio.wait((ending,), timeout=_END_SHOWS_SECONDS)
        if ending is not None and ending.done():
            raise ending.result()
        return working.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _signals(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """Handle the signals that ask for the end: the first one politely, the next ones not."""
    loop = asyncio.get_running_loop()
    handlers = iter((first,))

    def handle() -> None:
        next(handlers, second)()

    for one in _SIGNALS:
        loop.add_signal_handler(one, handle)
    try:
        yield
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)
