"""``dockgate list``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dockgate_server.cli.options import (
    DEFAULT_SERVER,
    AsJson,
    Server,
    Tls,
    TlsCa,
    TlsCert,
    TlsKey,
    examples,
)
from dockgate_server.cli.problem import usage

if TYPE_CHECKING:
    from dockgate.downlink.v1 import command_pb2
    from dockgate_server.cli.table import Cell

EXAMPLES = examples(
    "dockgate list",
    "dockgate list --device drone-001 --status failed --status timed_out",
    "dockgate list --all --json | jq -r .command_id",
)


def list_commands(
    device: Annotated[
        str, typer.Option("--device", metavar="ID", help="Only commands for this device.")
    ] = "",
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Only commands in this state: accepted, delivered, succeeded, failed, timed_out"
            " or unmatched_response; repeatable.",
        ),
    ] = None,
    command_type: Annotated[
        str, typer.Option("--type", metavar="METHOD", help="Only commands of this method.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many to show.")
    ] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Show all, however many.")] = False,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """List commands, newest first."""
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import connected

    request = pb.ListCommandsRequest(
        device_id=device,
        command_type=command_type,
        statuses=[_status(name) for name in status or ()],
    )
    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        pages = client.pages(client.stub.ListCommands, request, None if everything else limit)
        found = (command for page in pages for command in page.commands)
        if as_json:
            for command in found:
                render.print_json(render.to_json(command))
            return
        _show(list(found))


def _status(name: str) -> "command_pb2.CommandStatus.ValueType":
    from dockgate.downlink.v1 import command_pb2

    numbers = {
        one.removeprefix("COMMAND_STATUS_"): number
        for one, number in command_pb2.CommandStatus.items()
        if number
    }
    wanted = name.upper().replace("-", "_").removeprefix("COMMAND_STATUS_")
    if wanted not in numbers:
        known = ", ".join(numbers).lower()
        raise usage(f"--status: there is no status {name!r}; there are {known}")
    return numbers[wanted]


def _show(commands: "list[command_pb2.Command]") -> None:
    from dockgate_server.cli import table, words

    rows: list[list[Cell | str]] = [
        [
            command.command_id,
            words.day_and_time(command.accepted_at),
            command.device_id,
            command.command_type,
            (words.status(command), words.colour(command)),
            _outcome(command),
        ]
        for command in commands
    ]
    if rows:
        table.show(
            ("COMMAND", "ACCEPTED", "DEVICE", "METHOD", "STATUS", "OUTCOME"), rows, ("COMMAND",)
        )
    else:
        typer.echo("no commands", err=True)


def _outcome(command: "command_pb2.Command") -> str:
    """How it ended, in short: why, or the job, or how long it took."""
    from dockgate_server.cli import words

    if command.failure_code:
        return words.failure(command)
    if command.HasField("job"):
        return words.job(command.job)
    if not command.HasField("completed_at"):
        return ""
    took = command.completed_at.ToMilliseconds() - command.accepted_at.ToMilliseconds()
    return f"{took} ms"
