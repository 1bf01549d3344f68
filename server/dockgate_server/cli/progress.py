"""A command's life on the screen: a line for each event and, in a terminal, a bar below them."""

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from dockgate.downlink.v1 import command_pb2
from dockgate_server.cli import words

if TYPE_CHECKING:
    from rich.console import RenderableType

_BAR_WIDTH = 40


def event_line(event: command_pb2.CommandEvent) -> str:
    """An event in one line, coloured; typer takes the colours out where they do not belong."""
    command = event.command
    status = typer.style(f"{words.status(command):<10}", fg=words.colour(command))
    return f"{words.clock_time(event.occurred_at)}  {status}  {words.event(event)}"


def fleet_line(event: command_pb2.CommandEvent) -> str:
    """The same where events of many commands mix."""
    command = event.command
    status = typer.style(f"{words.status(command):<10}", fg=words.colour(command))
    text = words.event(event)
    if event.kind != command_pb2.COMMAND_EVENT_KIND_ACCEPTED:
        text = f"{command.command_type} {command.device_id}: {text}"
    return f"{words.clock_time(event.occurred_at)}  {command.command_id}  {status}  {text}"


class Lines(AbstractContextManager["Lines"]):
    """A line for each event: for pipes and files."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""

    def show(self, event: command_pb2.CommandEvent) -> None:
        """Write an event."""
        typer.echo(event_line(event))


class Bar(Lines):
    """Lines with a bar below: the time that is left, then the course of the job.

    Args:
        follow_job: Whether the job's course is shown behind a SUCCEEDED.
    """

    def __init__(self, *, follow_job: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._follow_job = follow_job
        self._command: command_pb2.Command | None = None
        self._live = Live(
            console=Console(highlight=False),
            get_renderable=self._picture,
            refresh_per_second=10,
            transient=True,
            # Notices go to a standard error that is somewhere else as they are.
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        """Show the bar."""
        self._live.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away; the lines stay."""
        self._command = None
        self._live.__exit__(exc_type, exc, traceback)

    def show(self, event: command_pb2.CommandEvent) -> None:
        """Write an event above the bar."""
        from rich.text import Text

        self._command = event.command
        self._live.console.print(Text.from_ansi(event_line(event)), soft_wrap=True)
        self._live.refresh()

    def _picture(self) -> "RenderableType":
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        command = self._command
        if command is None:
            return Text("")
        if words.is_open(command):
            left = command.deadline_at.ToMilliseconds() / 1000 - time.time()
            left = min(max(left, 0), command.timeout_seconds)
            share, text = left / command.timeout_seconds, f"{left:.0f} s left to answer"
        elif self._follow_job and words.job_goes_on(command):
            share, text = command.job.percent / 100, words.job(command.job)
        elif self._follow_job and words.succeeded(command, with_job=True):
            share, text = 0, "waiting for the job's first report"
        else:
            return Text("")
        grid = Table.grid(padding=(0, 2))
        grid.add_row(ProgressBar(1.0, share, width=_BAR_WIDTH), Text(text))
        return grid


def display(*, follow_job: bool) -> Lines:
    """What fits standard output."""
    return Bar(follow_job=follow_job) if sys.stdout.isatty() else Lines()
