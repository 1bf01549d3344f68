"""``dockgate devices``: which there are, how they are, what they are called."""

from collections.abc import Iterator, Mapping
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
from dockgate_server.cli.problem import USAGE, Problem, usage

if TYPE_CHECKING:
    from dockgate.downlink.v1 import device_pb2, device_service_pb2_grpc
    from dockgate_server.cli.client import Client
    from dockgate_server.cli.table import Cell

app = typer.Typer(
    name="devices",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show, watch, name and forget devices.",
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

    request = pb.ListDevicesRequest(gateway_id=gateway)
    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        found = [d for page in client.pages(stub.ListDevices, request, None) for d in page.devices]
    if as_json:
        for device in found:
            render.print_json(render.to_json(device))
    elif found:
        rows = [_row(device) for device in found]
        table.show(("DEVICE", "SERIAL NUMBER", "GATEWAY", "MODEL", "PRESENCE", "LAST SEEN"), rows)
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

    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        request = pb.GetDeviceRequest(device_id=device_id)
        device = client.call(stub.GetDevice, request).device
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
    from dockgate_server.cli.problem import from_rpc_error

    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (_, stub):
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


@app.command(
    "register",
    epilog=examples(
        "dockgate devices register roof --serial-number 7CTDM7100B0BJD",
        "dockgate devices register bird --serial-number 1581F8HHX258J00A03TZ --gateway roof",
    ),
)
def register(
    device_id: Annotated[str, typer.Argument(metavar="NAME", help="How callers are to name it.")],
    serial_number: Annotated[
        str, typer.Option("--serial-number", metavar="SN", help="NAME itself by default.")
    ] = "",
    gateway: Annotated[
        str,
        typer.Option(
            "--gateway",
            metavar="ID",
            help="The dock or remote controller that carries its commands; the one that is known,"
            " or itself, by default.",
        ),
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Take --gateway as a serial number even if nothing is known of such a device.",
        ),
    ] = False,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Give a device a name, or make one known.

    A device is known by itself once its dock or remote controller has announced it.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render

    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        if gateway not in ("", device_id, serial_number) and not force:
            gateway = _known_gateway(client, stub, gateway)
        request = pb.RegisterDeviceRequest(
            device_id=device_id, serial_number=serial_number, gateway_id=gateway
        )
        device = client.call(stub.RegisterDevice, request).device
    if as_json:
        render.print_json(render.to_json(device))
    else:
        through = f", reached through {device.gateway_id}"
        typer.echo(f"{device.device_id} is {device.serial_number}{through}")


@app.command("remove", epilog=examples("dockgate devices remove roof"))
def remove(
    device_id: DeviceId,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Forget a device and its name.

    One that is announced again is known again.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render

    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        client.call(stub.RemoveDevice, pb.RemoveDeviceRequest(device_id=device_id))
    if as_json:
        render.print_json({"removed_device_id": device_id})
    else:
        typer.echo(f"{device_id} is forgotten")


@app.command(
    "acl",
    epilog=examples(
        "dockgate devices acl > acl.new && diff /etc/mosquitto/dockgate/acl acl.new",
        "dockgate devices acl --gateway-user dockgate-2",
    ),
)
def acl(
    gateway_user: Annotated[
        str,
        typer.Option("--gateway-user", metavar="NAME", help="The broker's user for the gateway."),
    ] = "dockgate",
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Print it also with a key that is limited to some devices."),
    ] = False,
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Print the acl_file for a mosquitto broker.

    It has the topics that each user of the broker needs: the gateway, and every dock.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli.acl import write

    with _connected(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        pages = list(client.pages(stub.ListDevices, pb.ListDevicesRequest(), None))
    if pages[0].limited and not partial:
        raise Problem(
            "this key is limited to some devices, and a list that has only these locks all others "
            "out of the broker; use a key without --device, or --partial",
            code="LIMITED_KEY",
        )
    found = [device for page in pages for device in page.devices]
    drones: dict[str, list[str]] = {device.gateway_id: [] for device in found}
    for device in found:
        if device.serial_number != device.gateway_id:
            drones[device.gateway_id].append(device.serial_number)
    typer.echo(write(drones, gateway_user, is_partial=pages[0].limited), nl=False)


def _known_gateway(
    client: "Client", stub: "device_service_pb2_grpc.DeviceServiceStub", name: str
) -> str:
    """The serial number of a gateway device: by a slip commands would go to nobody, in silence.

    Raises:
        Problem: There is none of that name, or it is reached through another one itself.
    """
    import difflib

    from dockgate.downlink.v1 import device_service_pb2 as pb

    try:
        found = client.call(stub.GetDevice, pb.GetDeviceRequest(device_id=name)).device
    except Problem as problem:
        if problem.code == "FORBIDDEN":
            return name  # a key that may not look must know
        if problem.code != "DEVICE_NOT_FOUND":
            raise
        pages = client.pages(stub.ListDevices, pb.ListDevicesRequest(), None)
        known = {one.gateway_id for page in pages for one in page.devices}
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? Else" if close else "if it is to come,"
        raise Problem(
            f"--gateway: no device {name!r} is known; {hint} register it first, or use --force",
            exit_code=USAGE,
            code=problem.code,
            metadata={"device_id": name},
        ) from problem
    if found.gateway_id != found.serial_number:
        raise usage(
            f"--gateway: {name!r} carries no commands, it is reached through {found.gateway_id};"
            " name that one, or use --force"
        )
    return found.serial_number


@contextmanager
def _connected(
    server: str, tls: Tls
) -> "Iterator[tuple[Client, device_service_pb2_grpc.DeviceServiceStub]]":
    from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub
    from dockgate_server.cli.client import connected

    with connected(server, tls) as client:
        yield client, DeviceServiceStub(client.channel)


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
