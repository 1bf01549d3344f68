"""The command line ``dockgate``.

Heavy modules (gRPC, the server, rich) are imported by the commands that need them, so that
``dockgate --help`` answers at once.

The rules that hold for every command: results go to standard output, errors and notices to
standard error. Exit code 0 is success, 1 is failure, 2 is a call that was wrong and changed
nothing, 130 is Ctrl-C. With ``--json`` each result is one JSON document on a line of its own, and
an error is one document ``{"code", "message"}``, where it applies with ``details`` (the fields at
fault) and ``metadata``, as over HTTP; times are RFC 3339, enum names come
without their prefixes, what is not set is left out.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from dockgate_server.cli import output
from dockgate_server.cli.options import examples
from dockgate_server.cli.problem import (
    Problem,
    from_usage_error,
    is_help,
    no_permission,
    report,
    usage,
)

_COMMANDS = {
    "serve": "cli.serve:serve",
    "dev": "cli.dev:dev",
    "simulate": "simulate.command:simulate",
    "submit": "cli.submit:submit",
    "get": "cli.get:get",
    "watch": "cli.watch:watch",
    "events": "cli.events:events",
    "cancel": "cli.cancel:cancel",
    "list": "cli.list_:list_commands",
    "unmatched": "cli.unmatched:unmatched",
    "methods": "cli.methods:methods",
    "error": "cli.error:error",
    "backup": "cli.backup:backup",
    "devices": "cli.devices:app",
    "requests": "cli.requests:app",
    "keys": "cli.keys:app",
    "audit": "cli.audit:app",
}
"""Where each command is, in the order of the help: its function, or the commands below it. Only the
one that is called is loaded: a server is not to hold all the others in memory."""

EXAMPLES = examples(
    "dockgate dev",
    "dockgate serve --config dockgate.toml",
    "dockgate submit camera_recording_start --device drone-001 --payload-index 39-0-7 --watch",
    "dockgate submit --help",
)


def _print_version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"dockgate {importlib.metadata.version('dockgate')}")
        raise typer.Exit


def _dockgate(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Send commands to DJI docks over MQTT, and see what becomes of them.

    See everything at work on this machine with: dockgate dev
    """


def _add(app: typer.Typer, name: str) -> None:
    where, _, what = _COMMANDS[name].partition(":")
    module = importlib.import_module(f"dockgate_server.{where}")
    if what == "app":
        app.add_typer(module.app, name=name)
        return
    epilog = module.EXAMPLES
    app.command(
        name,
        epilog=epilog if isinstance(epilog, str) else examples(*epilog),
        context_settings=getattr(module, "TAKES_ANY_OPTION", None),
    )(getattr(module, what))


def _app(arguments: Sequence[str]) -> typer.Typer:
    """The command line, as far as these arguments need it."""
    app = typer.Typer(
        name="dockgate",
        no_args_is_help=True,
        add_completion=False,
        # Plain help: it keeps the lines of the examples and can be pasted into a README.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help"], "max_content_width": 100},
        epilog=EXAMPLES,
    )
    app.callback()(_dockgate)
    first = arguments[0] if arguments else ""
    for name in [first] if first in _COMMANDS else _COMMANDS:
        _add(app, name)
    return app


def main() -> None:
    """The console script."""
    output.prepare()
    code = run(sys.argv[1:])
    output.end()
    sys.exit(code)


def _check_text(arguments: Sequence[str]) -> None:
    for one in arguments:
        try:
            one.encode()
        except UnicodeEncodeError:
            raise usage("the command line holds bytes that are not UTF-8 text") from None


def run(arguments: Sequence[str]) -> int:
    """Carry out one call of the command line and give its exit code."""
    # gRPC's own log lines would stand between ours; its errors reach us as exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    as_json = "--json" in arguments
    try:
        _check_text(arguments)
        command = typer.main.get_command(_app(arguments))
        result = command.main(args=arguments, prog_name="dockgate", standalone_mode=False)
    except Problem as problem:
        return report(problem, as_json=as_json)
    except typer.TyperException as wrong:
        if is_help(wrong):
            typer.echo(wrong.format_message(), err=True)
            return wrong.exit_code
        return report(from_usage_error(wrong), as_json=as_json)
    except PermissionError as error:
        # Even to ask whether there is a file may be forbidden, by the folder that it would be in.
        if error.filename is None:
            raise
        return report(no_permission(error), as_json=as_json)
    except ExceptionGroup as several:
        not_printed = output.not_printed(several)
        if not_printed is None:
            raise
        return report(not_printed, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        # Also outside of what typer watches, such as the end of a context manager.
        return 130
    return result if isinstance(result, int) else 0
