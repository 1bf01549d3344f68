"""What the programs beside the tests have in common: chaos, load and bench."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from support import brokers

T = TypeVar("T")


class Progress:
    """How far a program is, on standard error: a bar on a terminal, lines elsewhere.

    Shows while it is entered.

    Args:
        total: How many steps there are; None for not known.
        quiet: Show nothing.
    """

    def __init__(self, total: int | None = None, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar = self._bars.add_task("", total=total)

    def __enter__(self) -> Self:
        """Begin to show."""
        self._bars.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show no more."""
        self._bars.stop()

    @property
    def is_bar(self) -> bool:
        """Whether it is a bar, so that every step can be shown."""
        return self._console.is_terminal

    def phase(self, text: str) -> None:
        """Something else begins."""
        self._bars.update(self._bar, description=text)
        if not self.is_bar:
            self.line(f"{text} …")

    def begin(self, total: int | None) -> None:
        """Count from 0 again, to another number of steps where one is given."""
        self._bars.reset(self._bar, total=total)

    def done(self, steps: int, text: str | None = None) -> None:
        """So many steps are done; the text replaces that of the phase."""
        self._bars.update(self._bar, completed=steps, description=text)

    def line(self, text: str) -> None:
        """Write a line."""
        self._console.print(text)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it; the first SIGINT or SIGTERM cancels it, and the children end with it.

    Raises:
        asyncio.CancelledError: It was cancelled, and has ended.
    """
    return asyncio.run(_until_signal(work))


async def _until_signal(work: Coroutine[Any, Any, T]) -> T:
    running = asyncio.current_task()
    assert running is not None
    asked: list[bool] = []

    def ask() -> None:
        # A second one must not cut the ending of the children short.
        if not asked:
            asked.append(True)
            running.cancel()

    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, ask)
    return await work


def interrupted() -> int:
    """Say that a run was cancelled; gives the exit code."""
    sys.stderr.write("interrupted; all processes have ended\n")
    return 130


def is_mosquitto_there() -> bool:
    """Whether the broker is installed; says so if it is not."""
    if brokers.binary("mosquitto") is not None:
        return True
    sys.stderr.write("error: mosquitto is not installed\n")
    return False


def whole_number(text: str) -> int:
    """An option's value: from 1 on."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def shown(value: float) -> str:
    """A figure with as many digits as say something."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"
