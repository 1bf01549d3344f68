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

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from dockgate_server.cli import (
    audit,
    backup,
    cancel,
    dev,
    devices,
    error,
    events,
    get,
    keys,
    list_,
    methods,
    requests,
    serve,
    submit,
    unmatched,
    watch,
)
from dockgate_server.cli.options import examples
from dockgate_server.cli.problem import Problem, from_usage_error, report
from dockgate_server.simulate.command import EXAMPLES as SIMULATE_EXAMPLES
from dockgate_server.simulate.command import simulate

app = typer.Typer(
    name="dockgate",
    no_args_is_help=True,
    add_completion=False,
    # Plain help: it keeps the lines of the examples and can be pasted into a README.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        typer.echo(f"dockgate {importlib.metadata.version('dockgate')}")
        raise typer.Exit


@app.callback()
def _dockgate(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Send commands to DJI docks over MQTT, and see what becomes of them.

    See everything at work on this machine with: dockgate dev
    """


app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("dev", epilog=dev.EXAMPLES)(dev.dev)
app.command("simulate", epilog=examples(*SIMULATE_EXAMPLES))(simulate)
app.command("submit", epilog=submit.EXAMPLES, context_settings=submit.TAKES_ANY_OPTION)(
    submit.submit
)
app.command("get", epilog=get.EXAMPLES)(get.get)
app.command("watch", epilog=watch.EXAMPLES)(watch.watch)
app.command("events", epilog=events.EXAMPLES)(events.events)
app.command("cancel", epilog=cancel.EXAMPLES)(cancel.cancel)
app.command("list", epilog=list_.EXAMPLES)(list_.list_commands)
app.command("unmatched", epilog=unmatched.EXAMPLES)(unmatched.unmatched)
app.command("methods", epilog=methods.EXAMPLES)(methods.methods)
app.command("error", epilog=error.EXAMPLES)(error.error)
app.command("backup", epilog=backup.EXAMPLES)(backup.backup)
app.add_typer(devices.app, name="devices")
app.add_typer(requests.app, name="requests")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out one call of the command line and give its exit code."""
    # gRPC's own log lines would stand between ours; its errors reach us as exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    as_json = "--json" in arguments
    try:
        command = typer.main.get_command(app)
        result = command.main(args=arguments, prog_name="dockgate", standalone_mode=False)
    except Problem as problem:
        return report(problem, as_json=as_json)
    except typer.TyperException as wrong:
        return report(from_usage_error(wrong), as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        # Also outside of what typer watches, such as the end of a context manager.
        return 130
    return result if isinstance(result, int) else 0
