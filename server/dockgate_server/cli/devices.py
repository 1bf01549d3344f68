"""``dockgate devices``: which there are, how they are, what they are called."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from dockgate_server.cli import devices_acl, devices_names
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
    from dockgate.downlink.v1 import device_pb2
    from dockgate_server.cli.table import Cell

app = typer.Typer(
    name="devices",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show, watch, name and forget devices.",
    epilog=examples(
        "dockgate devices list",
        "dockgate devices register roof --serial-number 7CTDM7100B0BJD",
        "dockgate devices watch --device roof --state",
    ),
)

DeviceId = Annotated[str, typer.Argument(metavar="ID", help="Alias or serial number.")]

_COLOURS = {"ONLINE": "green", "OFFLINE": "red"}


@app.command(
    "list",
    epilog=examples("dockgate devices list", "dockgate devices list --gateway dock-001 --json"),
)
def list_devices(
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="SN", help="Only what is reached through this one.")
    ] = "",
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """List every device."""
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render, table
    from dockgate_server.cli.client import device_service

    request = pb.ListDevicesRequest(gateway_id=gateway)
    with device_service(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        found = [d for page in client.pages(stub.ListDevices, request, None) for d in page.devices]
    if as_json:
        for device in found:
            render.print_json(render.to_json(device))
    elif found:
        rows = [_row(device) for device in found]
        headers = ("DEVICE", "SERIAL NUMBER", "GATEWAY", "MODEL", "PRESENCE", "LAST SEEN")
        table.show(headers, rows, ("SERIAL NUMBER",))
    else:
        typer.echo("no devices", err=True)


@app.command(
    "get",
    epilog=examples(
        "dockgate devices get dock-001", "dockgate devices get dock-001 --json | jq .state.osd"
    ),
)
def get(
    device_id: DeviceId,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Show a device with its latest state."""
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import device_service

    with device_service(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        request = pb.GetDeviceRequest(device_id=device_id)
        device = client.call(stub.GetDevice, request, {"device_id": "ID"}).device
    document = render.to_json(device)
    if as_json:
        render.print_json(document)
        return
    state = document.pop("state", {})
    for name, value in {**document, **state}.items():
        text = value if isinstance(value, str) else render.dumps(value)
        typer.echo(f"{name:<16}{text}")


@app.command(
    "watch",
    epilog=examples("dockgate devices watch", "dockgate devices watch --device dock-001 --state"),
)
def watch(
    device: Annotated[str, typer.Option("--device", metavar="ID", help="Only this device.")] = "",
    state: Annotated[
        bool, typer.Option("--state", help="Its state as well, at most once a second.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Show devices and how they come, go and change.

    First each device as it is, then each change, until Ctrl-C.
    """
    import grpc

    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import device_service
    from dockgate_server.cli.problem import from_rpc_error

    with device_service(server, Tls(tls_ca, tls_cert, tls_key)) as (_, stub):
        request = pb.WatchDevicesRequest(device_id=device, with_state=state)
        try:
            for update in stub.WatchDevices(request):
                if update.HasField("device"):
                    document = render.to_json(update.device)
                    _line(document, as_json=as_json)
                elif update.HasField("removed_device_id"):
                    removed = {"device_id": update.removed_device_id, "presence": "REMOVED"}
                    _line(removed, as_json=as_json)
        except grpc.RpcError as error:
            raise from_rpc_error(error, server) from error


app.command("register", epilog=examples(*devices_names.REGISTER))(devices_names.register)
app.command("remove", epilog=examples(*devices_names.REMOVE))(devices_names.remove)
app.command("acl", epilog=examples(*devices_acl.EXAMPLES))(devices_acl.acl)


def _row(device: "device_pb2.Device") -> "list[Cell | str]":
    from dockgate_server.cli import render, words

    presence = str(render.to_json(device)["presence"])
    return [
        words.one_line(device.device_id),
        words.one_line(device.serial_number),
        words.one_line(device.gateway_id),
        device.model_name or words.one_line(device.model),
        (presence, _COLOURS.get(presence, "")),
        words.day_and_time(device.last_seen_at) if device.HasField("last_seen_at") else "",
    ]


def _line(document: Mapping[str, object], *, as_json: bool) -> None:
    from dockgate_server.cli import render

    if as_json:
        render.print_json(document)
        return
    state = document.get("state")
    more = ""
    if isinstance(state, dict):
        shown = {k: v for k, v in state.items() if k not in ("osd", "reported", "updated_at")}
        more = "  " + "  ".join(f"{name} {value}" for name, value in shown.items())
    typer.echo(f"{document['device_id']}  {document['presence']}{more}")
