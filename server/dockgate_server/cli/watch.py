"""``dockgate watch``."""

import sys
import time
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
from dockgate_server.cli.problem import FAILURE, notice_json, usage

if TYPE_CHECKING:
    from dockgate.downlink.v1 import command_pb2
    from dockgate_server.cli.client import Client

EXAMPLES = examples(
    "dockgate watch 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11",
    "dockgate watch 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11 --after 3 --json",
    "dockgate watch --device dock-001",
)


def watch(
    command_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The command's id; without one, all commands from now on.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="POSITION",
            help="Begin behind this event: a revision of the command or, without ID, the"
            " resume_token that --json prints.",
        ),
    ] = None,
    follow_job: Annotated[
        bool,
        typer.Option(
            "--follow-job/--no-follow-job",
            help="Go on to the end of the job that the command starts, if it starts one.",
        ),
    ] = True,
    device: Annotated[
        str,
        typer.Option("--device", metavar="DEVICE", help="Without ID: only this device's commands."),
    ] = "",
    command_type: Annotated[
        str, typer.Option("--type", metavar="METHOD", help="Without ID: only this method.")
    ] = "",
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Follow a command to its end, or all commands until Ctrl-C.

    Prints what has happened and then each event as it happens. A lost connection is taken up
    again where it broke, with nothing left out. The exit code is 0 when the command SUCCEEDED
    (and its job came to OK), else 1.
    """
    from dockgate_server.cli.client import connected

    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        if command_id is None:
            _watch_all(client, after or "", device, command_type, as_json=as_json)
            return
        if device or command_type:
            raise usage("--device and --type choose among all commands; leave them out with an ID")
        code = watch_one(
            client, command_id, after=_revision(after), follow_job=follow_job, as_json=as_json
        )
    raise typer.Exit(code)


def watch_one(
    client: "Client", command_id: str, *, after: int = 0, follow_job: bool, as_json: bool
) -> int:
    """Follow a command, print its events, and give the exit code."""
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import following, render, words
    from dockgate_server.cli.progress import Lines, display

    request = pb.WatchCommandRequest(
        command_id=command_id, after_revision=after, follow_job=follow_job
    )

    def lost(delay: float) -> None:
        say_lost(client.server, f"behind revision {request.after_revision}", delay, as_json=as_json)

    last: command_pb2.Command | None = None
    with display(follow_job=follow_job) if not as_json else Lines() as lines:
        for event in following.one_command(client, request, lost, time.sleep):
            last = event.command
            if as_json:
                render.print_json(render.to_json(event))
            else:
                lines.show(event)
                if follow_job and _job_is_due(event):
                    typer.echo(
                        "following the job to its end; --no-follow-job ends at the answer", err=True
                    )
    if last is None:
        # It had ended before the revision that was asked for; the exit code is still due.
        last = client.call(
            client.stub.GetCommand, pb.GetCommandRequest(command_id=command_id)
        ).command
    return 0 if words.succeeded(last, with_job=follow_job) else FAILURE


def _job_is_due(event: "command_pb2.CommandEvent") -> bool:
    """Whether this is the answer behind which only the job's reports are waited for."""
    from dockgate.downlink.v1 import command_pb2
    from dockgate_server.cli import words
    from dockgate_server.codec import catalogue

    method = catalogue.METHODS.get(event.command.command_type)
    return (
        event.kind == command_pb2.COMMAND_EVENT_KIND_REPLIED
        and words.succeeded(event.command, with_job=False)
        and method is not None
        and method.always_reports_a_job
    )


def _watch_all(
    client: "Client", after: str, device: str, command_type: str, *, as_json: bool
) -> None:
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import following, render
    from dockgate_server.cli.progress import fleet_line

    request = pb.WatchCommandsRequest(
        resume_token=after, device_id=device, command_type=command_type
    )

    def lost(delay: float) -> None:
        say_lost(client.server, "where it broke", delay, as_json=as_json)

    if not as_json and sys.stderr.isatty():
        typer.echo("all commands from now on; Ctrl-C ends this", err=True)
    for response in following.all_commands(client, request, lost, time.sleep):
        if as_json:
            beside = {"resume_token": response.resume_token}
            render.print_json(render.to_json(response.event) | beside)
        else:
            typer.echo(fleet_line(response.event))


def say_lost(server: str, where: str, delay: float, *, as_json: bool) -> None:
    """Say that a stream has broken, and that it is taken up again."""
    text = f"lost the connection to {server}; going on {where} in {delay:.1f} s"
    if as_json:
        notice_json({"code": "RECONNECTING", "message": text})
    else:
        typer.echo(text, err=True)


def _revision(after: str | None) -> int:
    if after is None:
        return 0
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise usage(f"--after: must be a revision, a whole number from 0 on, not {after!r}")
    return int(after)
