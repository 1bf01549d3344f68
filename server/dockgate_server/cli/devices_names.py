"""``dockgate devices register`` and ``remove``: what devices are called, and which are known."""

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
)
from dockgate_server.cli.problem import USAGE, Problem, usage

if TYPE_CHECKING:
    from dockgate.downlink.v1 import device_pb2, device_service_pb2_grpc
    from dockgate_server.cli.client import Client

REGISTER = (
    "dockgate devices register roof --serial-number 7CTDM7100B0BJD",
    "dockgate devices register bird --serial-number 1581F8HHX258J00A03TZ --gateway roof",
    "dockgate devices register 7CTDM7100B0BJD",
)
REMOVE = ("dockgate devices remove roof",)


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

    A device is known by itself once its dock or remote controller has announced it. Its serial
    number as NAME takes its name away.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import device_service

    with device_service(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        if gateway not in ("", device_id, serial_number) and not force:
            gateway = _known_gateway(client, stub, gateway)
        request = pb.RegisterDeviceRequest(
            device_id=device_id, serial_number=serial_number, gateway_id=gateway
        )
        before = _called(client, stub, device_id) if serial_number not in ("", device_id) else ""
        device = client.call(stub.RegisterDevice, request, {"device_id": "NAME"}).device
    taken = before not in ("", device.serial_number)
    if as_json:
        beside = {"taken_from": before} if taken else {}
        render.print_json(render.to_json(device) | beside)
        return
    through = f", reached through {device.gateway_id}"
    typer.echo(f"{device.device_id} is {device.serial_number}{through}")
    if taken:
        typer.echo(f"{device.device_id} was {before} before, which has no name now")


def remove(
    device_id: Annotated[str, typer.Argument(metavar="ID", help="Alias or serial number.")],
    server: Server = DEFAULT_SERVER,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: AsJson = False,
) -> None:
    """Forget a device and its name.

    It is known again when it announces itself, as a dock does when it connects. To take away its
    name alone, register it by its serial number: dockgate devices register SERIAL_NUMBER
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.client import device_service

    with device_service(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
        known = _known(client, stub, device_id, "ID")
        request = pb.RemoveDeviceRequest(device_id=device_id)
        client.call(stub.RemoveDevice, request, {"device_id": "ID"})
    if as_json:
        beside = {"serial_number": known.serial_number} if known else {}
        render.print_json({"removed_device_id": device_id} | beside)
    elif known is None:
        typer.echo(f"{device_id} is forgotten; it is known again when it announces itself")
    else:
        typer.echo(_forgotten(known, server))


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
        found = _known(client, stub, name, "--gateway")
    except Problem as problem:
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
    if found is None:
        return name  # who may not look must know
    if found.gateway_id != found.serial_number:
        raise usage(
            f"--gateway: {name!r} carries no commands, it is reached through {found.gateway_id};"
            " name that one, or use --force"
        )
    return found.serial_number


def _known(
    client: "Client", stub: "device_service_pb2_grpc.DeviceServiceStub", name: str, word: str
) -> "device_pb2.Device | None":
    """The device of a name or serial number; None if the key may not look.

    Args:
        client: The connection.
        stub: What is asked.
        name: The name.
        word: What it is called on the command line.

    Raises:
        Problem: There is none.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb

    request = pb.GetDeviceRequest(device_id=name)
    try:
        return client.call(stub.GetDevice, request, {"device_id": word}).device
    except Problem as problem:
        if problem.code == "FORBIDDEN":
            return None
        raise


def _called(client: "Client", stub: "device_service_pb2_grpc.DeviceServiceStub", name: str) -> str:
    """The serial number of the device that has this name; "" if there is none, or none to see.

    By the list: to ask for one that is not there would be a refusal, in the audit log too.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb

    try:
        pages = client.pages(stub.ListDevices, pb.ListDevicesRequest(), None)
        devices = (device for page in pages for device in page.devices)
        return next((one.serial_number for one in devices if one.device_id == name), "")
    except Problem as problem:
        if problem.code == "FORBIDDEN":
            return ""
        raise


def _forgotten(device: "device_pb2.Device", server: str) -> str:
    """What is said of a device that is no longer known, and how it becomes known again."""
    from dockgate_server.cli.program import program, server_option

    number, gateway = device.serial_number, device.gateway_id
    named = f"{device.device_id}, that is {number}," if device.device_id != number else number
    # The gateway may be one of which nothing is known any more.
    through = f" --gateway {gateway} --force" if gateway != number else ""
    return (
        f"{named} is forgotten; it is known again when it announces itself, or by: "
        f"{program()} devices register {number}{through}{server_option(server)}"
    )
