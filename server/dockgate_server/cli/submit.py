"""``dockgate submit``."""

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from dockgate_server.cli.output import UNSEEN, why_unseen
from dockgate_server.cli.problem import FAILURE, Problem, from_refusal, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dockgate.downlink.v1 import command_pb2
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli.client import Client

# The fields of every method are options; which there are is known when the method is.
TAKES_ANY_OPTION: dict[Any, Any] = {"ignore_unknown_options": True}

EXAMPLES = "\n\n".join(
    (
        examples(
            "dockgate submit camera_recording_start --device drone-001 --payload_index 39-0-7",
            'dockgate submit camera_recording_start \'{"payload_index": "39-0-7"}\''
            " --device drone-001",
            "dockgate submit flighttask_prepare @task.json --file.url https://… --device dock-001",
            "dockgate submit charge_open --device dock-001 --watch",
        ),
        examples(
            "--payload_index 39-0-7        a field; --payload-index is the same",
            "--file.url https://…          a field within a field",
            "--params.files.0.module 3     a field of the first element of a list",
            "--list '[{\"boot_index\": 1}]'  a whole list or object as JSON",
            "--url_type RTMP               a number that has a name, by its name",
            heading="Fields",
        ),
        "A field with the name of an option of this command (--key, …) is given in the JSON.",
    )
)

_OWN_OPTIONS = (
    *("--device", "--key", "--timeout", "--offline", "--watch", "--no-watch", "--follow-job"),
    *("--no-follow-job", "--server", "--tls-ca", "--json", "--help"),
)


class Offline(enum.StrEnum):
    """What becomes of the command if its gateway device is away."""

    FAIL_FAST = "fail-fast"
    QUEUE = "queue"

    @property
    def policy(self) -> "command_pb2.OfflinePolicy.ValueType":
        """The same in the schema."""
        from dockgate.downlink.v1 import command_pb2

        return command_pb2.OfflinePolicy.Value(f"OFFLINE_POLICY_{self.name}")


def submit(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="A DJI method; see: dockgate methods")
    ],
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="ID",
            help="A dock, drone or remote controller: its serial number or alias.",
        ),
    ],
    payload: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="JSON | --field value",
            help="The method's fields: a JSON object, - for one on standard input, @FILE for one"
            " in a file; or one option for each field, which overrules the JSON.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Idempotency key: submitting again with the same key gives the same command and"
            " sends nothing twice. A new UUID by default.",
        ),
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0,
            max=300,
            help="How long the device has for its answer; 0 or nothing for the method's default.",
        ),
    ] = None,
    offline: Annotated[
        Offline | None,
        typer.Option(
            "--offline",
            help="If the dock is away: end as FAILED, or wait for it until the deadline. The"
            " method's own policy by default.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch/--no-watch",
            help="Follow the command to its end; the exit code then says how it ended.",
        ),
    ] = False,
    follow_job: Annotated[
        bool,
        typer.Option(
            "--follow-job/--no-follow-job",
            help="With --watch: go on to the end of the job that the method starts, if it does.",
        ),
    ] = True,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Submit a command for a device.

    Returns as soon as the command is stored durably; it is sent behind that. With --watch it is
    followed to its end.
    """
    from dockgate_server.cli.client import connected

    request = _request(method, payload or [], device=device, key=key, timeout=timeout)
    if offline is not None:
        request.offline_policy = offline.policy
    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        response = _send(client, request)
        _show(response, request, server, as_json=as_json, watched=watch)
        if watch:
            from dockgate_server.cli.watch import watch_one

            raise typer.Exit(
                watch_one(
                    client,
                    response.command.command_id,
                    follow_job=follow_job,
                    as_json=as_json,
                )
            )


def _request(
    name: str, tokens: "Sequence[str]", *, device: str, key: str | None, timeout: int | None
) -> "pb.SubmitCommandRequest":
    """The request, filled and checked.

    Raises:
        Problem: Something in it cannot be sent.
    """
    import uuid

    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import payload
    from dockgate_server.codec import catalogue, dji_json
    from dockgate_server.errors import DockgateError, validation_failed

    if name.startswith("--"):
        raise usage("the method comes first: dockgate submit METHOD --device SN --field value")
    try:
        method = catalogue.find(name)
        values = payload.read(method.descriptor, name, tokens, _OWN_OPTIONS, source)
        # An empty key is the caller's mistake, for the server to say.
        request = pb.SubmitCommandRequest(
            device_id=device, idempotency_key=str(uuid.uuid4()) if key is None else key
        )
        if timeout is not None:
            request.timeout_seconds = timeout
        message = getattr(request.dji, name)
        message.SetInParent()  # a method without fields is set all the same
        if violations := dji_json.from_dict(values, message):
            raise validation_failed(violations)
    except DockgateError as refusal:
        raise from_refusal(refusal) from None
    except UnicodeEncodeError:
        raise usage("the command line holds bytes that are not UTF-8 text") from None
    return request


def source(word: str) -> str:
    """The text on standard input (``-``) or in a file (``@file``).

    Raises:
        Problem: It cannot be read.
    """
    try:
        if word == "-":
            if sys.stdin is None:
                raise usage("cannot read the payload: standard input is closed")
            return sys.stdin.read()
        return Path(word.removeprefix("@")).read_text(encoding="utf-8")
    except OSError as error:
        name = word.removeprefix("@")
        raise usage(f"cannot read the payload from {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise usage(f"the payload in {word.removeprefix('@')} is not UTF-8 text") from None


def _send(client: "Client", request: "pb.SubmitCommandRequest") -> "pb.SubmitCommandResponse":
    try:
        return client.call(client.stub.SubmitCommand, request)
    except Problem as problem:
        # Without an answer from the server itself nobody knows whether it took the command.
        unknown = problem.message.startswith("lost the connection")
        if unknown or problem.code == "DEADLINE_EXCEEDED":
            raise Problem(
                f"{problem.message}; whether the command was accepted is not known: submit again "
                f"with --key {request.idempotency_key}, which never sends it twice",
                exit_code=FAILURE,
                code=problem.code,
            ) from problem
        raise


def _show(
    response: "pb.SubmitCommandResponse",
    request: "pb.SubmitCommandRequest",
    server: str,
    *,
    as_json: bool,
    watched: bool,
) -> None:
    command = response.command
    try:
        _print(response, request, server, as_json=as_json, watched=watched)
    except UNSEEN as error:
        raise Problem(
            f"the command {command.command_id} was accepted, but that could not be shown "
            f"({why_unseen(error)}); to submit it again would be a second one, except with --key "
            f"{request.idempotency_key}",
            code="ANSWER_NOT_SHOWN",
            metadata={
                "command_id": command.command_id,
                "idempotency_key": request.idempotency_key,
            },
        ) from error


def _print(
    response: "pb.SubmitCommandResponse",
    request: "pb.SubmitCommandRequest",
    server: str,
    *,
    as_json: bool,
    watched: bool,
) -> None:
    from dockgate_server.cli import render, words
    from dockgate_server.cli.program import program, server_option

    command = response.command
    if as_json:
        beside = {"idempotency_key": request.idempotency_key, "replayed": response.replayed}
        render.print_json(render.to_json(command) | beside)
        return
    what = "accepted before" if response.replayed else "accepted"
    at = words.clock_time(command.accepted_at)
    typer.echo(f"{what} at {at}: {words.target(command)}")
    typer.echo(f"command  {command.command_id}")
    typer.echo(f"key      {request.idempotency_key}")
    if not watched:
        typer.echo(f"follow   {program()} watch {command.command_id}{server_option(server)}")
