"""``dockgate events``."""

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
from dockgate_server.cli.problem import Problem
from dockgate_server.cli.watch import say_lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dockgate.downlink.v1 import device_pb2
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli.client import Client
    from dockgate_server.cli.following import OnLost

EXAMPLES = examples(
    "dockgate events",
    "dockgate events --device dock-001 --method hms --method flighttask_progress",
    "dockgate events --json | jq 'select(.need_reply) | .data'",
)


def events(
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="ID", help="Only events of this device's dock or controller."
        ),
    ] = "",
    method: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="METHOD", help="Only events of this method; repeatable."),
    ] = None,
    after: Annotated[
        str,
        typer.Option(
            "--after",
            metavar="CURSOR",
            help="Begin behind this event: a cursor that --json prints.",
        ),
    ] = "",
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Follow what devices tell by themselves, until Ctrl-C.

    Progress of jobs, warnings, files that were uploaded: each as it is stored, from now on or from
    a cursor, in words where the schema knows it. A lost connection is taken up again where it
    broke, with nothing left out.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import connected

    request = pb.WatchEventsRequest(device_id=device, methods=method or (), after=after)

    def lost(delay: float) -> None:
        say_lost(server, "where it broke", delay, as_json=as_json)

    if not as_json and sys.stderr.isatty():
        typer.echo("events from now on; Ctrl-C ends this", err=True)
    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        models = _Models(client)
        for event in _following(client, request, lost):
            if as_json:
                render.print_json(render.to_json(event))
            else:
                typer.echo(_line(event, models))


def _following(
    client: "Client", request: "pb.WatchEventsRequest", lost: "OnLost"
) -> "Iterator[device_pb2.DeviceEvent]":
    from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub
    from dockgate_server.cli import following

    stub = DeviceServiceStub(client.channel)
    updates = following.resuming(lambda: stub.WatchEvents(request), client.server, lost, time.sleep)
    for update in updates:
        request.after = update.cursor
        if update.HasField("event"):
            yield update.event


class _Models:
    """Asks the server for the model of each gateway device, once."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._known: dict[str, str] = {}

    def of(self, gateway_id: str) -> str:
        """The model; "" where the server does not say."""
        from dockgate.downlink.v1 import device_service_pb2 as pb
        from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub

        if gateway_id not in self._known:
            stub = DeviceServiceStub(self._client.channel)
            request = pb.GetDeviceRequest(device_id=gateway_id)
            try:
                self._known[gateway_id] = self._client.call(stub.GetDevice, request).device.model
            except Problem:
                # Both meanings are shown then; if the server is gone, the stream will say so.
                self._known[gateway_id] = ""
        return self._known[gateway_id]


def _line(event: "device_pb2.DeviceEvent", models: _Models) -> str:
    from dockgate_server.cli import event_words, words

    asks = "  asks for an answer" if event.need_reply else ""
    method = typer.style(words.one_line(event.method), fg="cyan")
    told = words.one_line(event_words.told(event, models.of))
    return f"{words.clock_time(event.received_at)}  {event.gateway_id}  {method}  {told}{asks}"
