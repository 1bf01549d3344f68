"""``dockgate cancel``."""

from typing import Annotated

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

EXAMPLES = examples(
    "dockgate cancel 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11",
    "dockgate list --status accepted --json | jq -r .command_id | xargs -r -n1 dockgate cancel",
)


def cancel(
    command_id: Annotated[str, typer.Argument(metavar="ID", help="The command's id.")],
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a command that has not been sent.

    One that has been sent cannot be called back; the error then names the method that undoes it,
    where DJI has one.
    """
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import render, words
    from dockgate_server.cli.client import connected

    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        request = pb.CancelCommandRequest(command_id=command_id)
        command = client.call(client.stub.CancelCommand, request).command
    if as_json:
        render.print_json(render.to_json(command))
    else:
        typer.echo(f"cancelled, and never sent: {words.target(command)}")
