"""``dockgate unmatched``."""

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

if TYPE_CHECKING:
    from dockgate.downlink.v1 import command_pb2
    from dockgate_server.cli.table import Cell

EXAMPLES = examples(
    "dockgate unmatched",
    "dockgate unmatched --gateway dock-001 --limit 5 --json | jq .data",
)


def unmatched(
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="SN", help="Only replies of this gateway device.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many to show.")
    ] = 20,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """List replies from devices that fit no command, newest first.

    A late answer to a command is none of these: it stands on its command.
    """
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import connected

    request = pb.ListUnmatchedResponsesRequest(gateway_id=gateway)
    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        pages = list(client.pages(client.stub.ListUnmatchedResponses, request, limit))
    found = [reply for page in pages for reply in page.responses]
    if as_json:
        for reply in found:
            render.print_json(render.to_json(reply))
        return
    _show(found)
    if found:
        typer.echo(f"{pages[0].recorded_total} recorded in all", err=True)


def _show(replies: "list[command_pb2.UnmatchedResponse]") -> None:
    from dockgate_server.cli import render, table, words

    rows: list[list[Cell | str]] = [
        [
            words.day_and_time(reply.received_at),
            reply.gateway_id,
            words.one_line(reply.method),
            words.one_line(reply.tid),
            words.one_line(reply.reason),
            render.dumps(render.plain(reply.data)) if reply.HasField("data") else str(reply.raw),
        ]
        for reply in replies
    ]
    if rows:
        table.show(("RECEIVED", "GATEWAY", "METHOD", "TID", "WHY", "DATA"), rows, ("TID",))
    else:
        typer.echo("no replies", err=True)
