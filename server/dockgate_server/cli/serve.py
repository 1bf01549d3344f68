"""``dockgate serve``."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dockgate_server.cli.options import AsJson, Config, examples
from dockgate_server.cli.output import UNSEEN
from dockgate_server.cli.problem import USAGE, Problem
from dockgate_server.loading import all_is_loaded, without_rich

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from dockgate_server import app
    from dockgate_server.config import Settings, Store

Read = TypeVar("Read")

_MOST_FILES = 65_536

EXAMPLES = examples(
    "dockgate serve",
    "dockgate serve --config dockgate.toml",
    "dockgate serve --workers 1",
    "DOCKGATE_MQTT__URL=mqtt://broker.example dockgate serve",
    "dockgate serve --config dockgate.toml --check",
)


def serve(
    config: Config = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            max=64,
            help="Processes that speak gRPC in front of the one that decides; as grpc.workers.",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the configuration.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the gateway until Ctrl-C or SIGTERM.

    Everything is configured by DOCKGATE_… variables and, beneath them, a TOML file. Writes one
    line to standard output when it is ready; its log goes to standard error.
    """
    settings = load(config, {} if workers is None else {"grpc": {"workers": workers}})
    if check:
        if as_json:
            from dockgate_server.cli import render

            render.print_json({"valid": True})
        else:
            typer.echo("the configuration is valid")
        return
    _run(settings, as_json=as_json)


def load(file: Path | None, options: dict[str, Any] | None = None) -> "Settings":
    """The configuration; options of the command line overrule what it says.

    Raises:
        Problem: With every mistake in it.
    """
    from dockgate_server import config

    return _read(partial(config.load, **options or {}), file)


def load_store(file: Path | None) -> "Store":
    """The configuration of the database alone.

    Raises:
        Problem: With every mistake in it.
    """
    from dockgate_server import config

    return _read(config.load_store, file)


def _read(how: Callable[[Path | None], Read], file: Path | None) -> Read:
    from dockgate_server.config import ConfigProblem

    try:
        return how(file)
    except ConfigProblem as problem:
        raise Problem(str(problem), exit_code=USAGE, code="CONFIGURATION") from None


def _run(settings: "Settings", *, as_json: bool) -> None:
    import asyncio

    with without_rich():
        from dockgate_server import app, logs, supervision

    logs.configure(settings.log.level, settings.log.format)
    _allow_many_connections()

    def ready(running: app.App) -> None:
        all_is_loaded()
        # It serves all the same where nobody can be told.
        with contextlib.suppress(*UNSEEN):
            _say_ready(running, as_json=as_json)

    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
            runner.run(app.serve(settings, on_ready=ready))
    except app.StartProblem as problem:
        raise Problem(str(problem), code="CANNOT_START") from problem
    except supervision.TaskEnded as ended:
        # The traceback is in the log.
        raise Problem(f"stopped, because {ended}", code="STOPPED") from ended


def _loop_factory(settings: "Settings") -> "Callable[[], AbstractEventLoop] | None":
    """For those who ask for workers uvloop: a tenth less processor time, for 2.6 MiB."""
    if not settings.grpc.workers:
        return None
    import uvloop

    return uvloop.new_event_loop


def _allow_many_connections() -> None:
    """Open as many files as the system allows: many systems begin at 1,024, old programs' sake."""
    try:
        import resource
    except ImportError:  # no such limit on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say_ready(running: "app.App", *, as_json: bool) -> None:
    from dockgate_server.cli import render

    if as_json:
        addresses = {"grpc_address": running.grpc_address, "http_address": running.http_address}
        render.print_json({"ready": True} | addresses)
        return
    http = f", HTTP on {running.http_address}" if running.http_address else ""
    typer.echo(f"dockgate is ready: gRPC on {running.grpc_address}{http}")
