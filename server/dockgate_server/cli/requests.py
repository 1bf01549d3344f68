"""``dockgate requests``: what devices ask, and answering it."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from dockgate_server.cli.problem import notice_json, usage

if TYPE_CHECKING:
    from dockgate.downlink.v1 import device_request_pb2, device_request_service_pb2_grpc
    from dockgate_server.cli.client import Client
    from dockgate_server.cli.table import Cell

app = typer.Typer(
    name="requests",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show and answer what devices ask.",
    epilog=examples(
        "dockgate requests list --status pending",
        "dockgate requests watch",
        "dockgate requests reply 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11 --code 0",
    ),
)

_COLOURS = {"PENDING": "cyan", "REPLIED": "green", "EXPIRED": "red"}

RequestId = Annotated[str, typer.Argument(metavar="ID", help="The request's id.")]
Device = Annotated[
    str, typer.Option("--device", metavar="ID", help="Only requests of this gateway device.")
]
RequestType = Annotated[
    str, typer.Option("--type", metavar="METHOD", help="Only requests of this type.")
]


@app.command(
    "list",
    epilog=examples(
        "dockgate requests list --status pending",
        "dockgate requests list --device dock-001 --type config --json",
    ),
)
def list_requests(
    device: Device = "",
    request_type: RequestType = "",
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Only requests in this state: pending, replied or expired; repeatable.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many to show.")
    ] = 20,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """List requests of devices, newest first."""
    from dockgate.downlink.v1 import device_request_service_pb2 as pb
    from dockgate_server.cli import render, table

    request = pb.ListDeviceRequestsRequest(
        device_id=device,
        request_type=request_type,
        statuses=[_status(name) for name in status or ()],
    )
    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        pages = client.pages(stub.ListDeviceRequests, request, limit)
        found = [one for page in pages for one in page.requests]
    if as_json:
        for one in found:
            render.print_json(render.to_json(one))
    elif found:
        headers = ("REQUEST", "RECEIVED", "DEVICE", "TYPE", "STATUS", "ANSWER")
        table.show(headers, [_row(one) for one in found], ("REQUEST",))
    else:
        typer.echo("no requests", err=True)


@app.command("get", epilog=examples("dockgate requests get 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11"))
def get(
    request_id: RequestId,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Show a request: what was asked, who answered it, when and how."""
    from dockgate.downlink.v1 import device_request_service_pb2 as pb

    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        request = pb.GetDeviceRequestRequest(request_id=request_id)
        found = client.call(stub.GetDeviceRequest, request).request
    _show(found, as_json=as_json)


@app.command(
    "reply",
    epilog=examples(
        "dockgate requests reply 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11 --code 0"
        ' --payload \'{"output": {"files": []}}\'',
        "dockgate requests reply 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11 --code 1 --message no",
    ),
)
def reply(
    request_id: RequestId,
    code: Annotated[
        int,
        typer.Option("--code", metavar="N", help="The result: 0 for yes, else an error code."),
    ],
    message: Annotated[
        str,
        typer.Option("--message", metavar="TEXT", help="A word for whoever looks at it later."),
    ] = "",
    payload: Annotated[
        str,
        typer.Option(
            "--payload",
            metavar="JSON",
            help="What stands beside the result, most often an output: a JSON object, - for one"
            " on standard input, @FILE for one in a file.",
        ),
    ] = "",
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Answer a request that waits. The first answer holds; the same one again is no error."""
    from google.protobuf import json_format

    from dockgate.downlink.v1 import device_request_service_pb2 as pb
    from dockgate_server.cli.payload import json_object
    from dockgate_server.cli.submit import source

    if not -(2**31) <= code < 2**31:
        raise usage("--code: must be a number of 32 bits")
    request = pb.ReplyDeviceRequestRequest(
        request_id=request_id, reply_code=code, reply_message=message
    )
    if payload:
        try:
            json_format.ParseDict(json_object(payload, source), request.payload)
        except json_format.ParseError as wrong:
            raise usage(f"--payload: {wrong}") from None
        except UnicodeEncodeError:
            raise usage("--payload: has half of a surrogate pair, which is no text") from None
    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        answered = client.call(stub.ReplyDeviceRequest, request).request
    _show(answered, as_json=as_json)


@app.command(
    "watch", epilog=examples("dockgate requests watch", "dockgate requests watch --json | jq .")
)
def watch(
    device: Device = "",
    request_type: RequestType = "",
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Show requests that wait, and how they come and change.

    First each one that waits, then each one that comes or changes, until Ctrl-C.
    """
    from dockgate.downlink.v1 import device_request_service_pb2 as pb
    from dockgate_server.cli import following, render

    def lost(delay: float) -> None:
        text = f"lost the connection to {server}; watching again in {delay:.1f} s"
        if as_json:
            notice_json({"code": "RECONNECTING", "message": text})
        else:
            typer.echo(text, err=True)

    request = pb.WatchDeviceRequestsRequest(device_id=device, request_type=request_type)
    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (_, stub):
        if not as_json and sys.stderr.isatty():
            typer.echo("requests that wait or come; Ctrl-C ends this", err=True)
        updates = following.resuming(
            lambda: stub.WatchDeviceRequests(request), server, lost, time.sleep
        )
        for update in updates:
            if not update.HasField("request"):
                continue
            if as_json:
                render.print_json(render.to_json(update.request))
            else:
                typer.echo("  ".join(_texts(update.request)).rstrip())


@contextmanager
def _connected(
    server: str, tls: Tls
) -> "Iterator[tuple[Client, device_request_service_pb2_grpc.DeviceRequestServiceStub]]":
    from dockgate.downlink.v1.device_request_service_pb2_grpc import DeviceRequestServiceStub
    from dockgate_server.cli.client import connected

    with connected(server, tls) as client:
        yield client, DeviceRequestServiceStub(client.channel)


def _status(name: str) -> "device_request_pb2.DeviceRequestStatus.ValueType":
    from dockgate.downlink.v1 import device_request_pb2

    prefix = "DEVICE_REQUEST_STATUS_"
    numbers = {
        one.removeprefix(prefix).lower(): number
        for one, number in device_request_pb2.DeviceRequestStatus.items()
        if number
    }
    wanted = name.lower().removeprefix(prefix.lower())
    if wanted not in numbers:
        raise usage(f"--status: there is no status {name!r}; there are {', '.join(numbers)}")
    return numbers[wanted]


def _show(request: "device_request_pb2.DeviceRequest", *, as_json: bool) -> None:
    from dockgate_server.cli import render, words

    document = render.to_json(request)
    if as_json:
        render.print_json(document)
        return
    for name, value in document.items():
        text = value if isinstance(value, str) else render.dumps(value)
        typer.echo(f"{name:<20}{words.one_line(text)}")


def _texts(request: "device_request_pb2.DeviceRequest") -> list[str]:
    """Id, time, device, type, state and answer."""
    from dockgate_server.cli import render, words

    document = render.to_json(request)
    return [
        request.request_id,
        words.day_and_time(request.received_at),
        words.one_line(request.device_id),
        words.one_line(request.request_type),
        str(document.get("status", "")),
        words.one_line(_answer(request)),
    ]


def _row(request: "device_request_pb2.DeviceRequest") -> "list[Cell | str]":
    *texts, status, answer = _texts(request)
    return [*texts, (status, _COLOURS.get(status, "")), answer]


def _answer(request: "device_request_pb2.DeviceRequest") -> str:
    """``0 by grpc: looked at it``."""
    if not request.replied_by:
        return ""
    code = f"{request.reply_code} " if request.HasField("reply_code") else ""
    message = f": {request.reply_message}" if request.reply_message else ""
    return f"{code}by {request.replied_by}{message}"
