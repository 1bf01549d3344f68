"""``dockgate backup``: a copy of the gateway's database, taken while it runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dockgate_server.cli.options import AsJson, Config, examples
from dockgate_server.cli.problem import Problem, no_database

if TYPE_CHECKING:
    from dockgate_server.store.sqlite.backup import Backup, OnProgress

EXAMPLES = examples(
    "dockgate backup",
    "dockgate backup /backups/dockgate-monday.db --config dockgate.toml",
)


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Where to; it must not exist. By default beside the database, named after it "
            "and the time.",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database to a file, also while the gateway runs.

    The copy can be started from as it is. In it every command that is still open has ended as
    OUTCOME_UNKNOWN, so that a gateway started on it sends none of them again.
    """
    from dockgate_server.cli.serve import load_store
    from dockgate_server.clock import SystemClock
    from dockgate_server.store.sqlite.backup import BackupProblem, take

    settings = load_store(config)
    if not settings.path.is_file():
        raise no_database(settings.path)
    try:
        with _bar(shown=sys.stderr.isatty() and not as_json) as on_progress:
            made = take(settings.path, file or _beside(settings.path), SystemClock(), on_progress)
    except BackupProblem as problem:
        raise Problem(str(problem), code="CANNOT_BACK_UP") from problem
    if as_json:
        _print(made)
        return
    typer.echo(f"{made.file}: {made.commands} commands, {made.size / 1e6:.1f} MB, checked")
    if made.open_commands:
        one = made.open_commands == 1
        were = "was open and has" if one else "were open and have"
        typer.echo(f"{made.open_commands} of them {were} ended in it as OUTCOME_UNKNOWN", err=True)
    if settings.key is not None or settings.sealing_key_file.is_file():
        keep = f"keep {settings.sealing_key} as well: without it the copy cannot be started from"
        typer.echo(keep, err=True)


def _beside(database: Path) -> Path:
    return database.with_name(f"{database.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db")


def _print(made: "Backup") -> None:
    from dockgate_server.cli import render

    document = {
        "file": str(made.file),
        "bytes": made.size,
        "taken_at": render.rfc3339(made.taken_at),
        "commands": made.commands,
        "open_commands": made.open_commands,
    }
    render.print_json(document)


@contextmanager
def _bar(*, shown: bool) -> "Iterator[OnProgress]":
    """What shows how far the copy is, where somebody can see it."""
    if not shown:
        yield lambda doing, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("copying", total=1.0)

        def show(doing: str, share: float | None) -> None:
            total = None if share is None else 1.0
            progress.update(task, description=doing, total=total, completed=share or 0.0)

        yield show
