"""``dockgate get``."""

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

EXAMPLES = examples(
    "dockgate get 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11",
    "dockgate get 0b0e8f5e-6d4e-4d0c-9b1f-6c0b2f6f0a11 --json | jq .vendor_response",
)


def get(
    command_id: Annotated[str, typer.Argument(metavar="ID", help="The command's id.")],
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Show a command as it is now."""
    from dockgate.downlink.v1 import command_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import connected

    with connected(server, Tls(tls_ca, tls_cert, tls_key)) as client:
        request = pb.GetCommandRequest(command_id=command_id)
        command = client.call(client.stub.GetCommand, request).command
    if as_json:
        render.print_json(render.to_json(command))
        return
    for name, text in _lines(command):
        typer.echo(f"{name:<12}{text}")


def _lines(command: "command_pb2.Command") -> "list[tuple[str, str]]":
    from dockgate_server.cli import render, words

    def at(field: str) -> str:
        if not command.HasField(field):  # type: ignore[arg-type]
            return ""
        return words.local_time(getattr(command, field)).isoformat(sep=" ", timespec="milliseconds")

    data = render.to_json(command)
    answer = " ".join(
        one for one in (command.response_code, words.one_line(command.response_message)) if one
    )
    lines = [
        ("command", command.command_id),
        ("what", words.target(command)),
        ("status", typer.style(words.status(command), fg=words.colour(command))),
        ("rests on", str(data.get("completion_basis", ""))),
        ("why", words.failure(command)),
        ("answer", answer),
        ("reply", words.one_line(render.dumps(data.get("vendor_response", {})))),
        ("job", words.job(command.job).removeprefix("job ") if command.HasField("job") else ""),
        ("accepted", at("accepted_at")),
        ("delivered", at("delivered_at")),
        ("answered", at("response_received_at")),
        ("completed", at("completed_at")),
        ("updated", at("updated_at")),
        ("deadline", at("deadline_at") if words.is_open(command) else ""),
        ("revision", str(command.revision)),
    ]
    return [(name, text) for name, text in lines if text and text != "{}"]
