"""``dockgate devices acl``."""

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
)
from dockgate_server.cli.problem import Problem

EXAMPLES = (
    "dockgate devices acl > acl.new && diff /etc/mosquitto/dockgate/acl acl.new",
    "dockgate devices acl --gateway-user dockgate-2",
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
    as_json: AsJson = False,
) -> None:
    """Print the acl_file for a mosquitto broker.

    It has the topics that each user of the broker needs: the gateway, and every dock.
    """
    from dockgate.downlink.v1 import device_service_pb2 as pb
    from dockgate_server.cli import render
    from dockgate_server.cli.acl import write
    from dockgate_server.cli.client import device_service

    with device_service(server, Tls(tls_ca, tls_cert, tls_key)) as (client, stub):
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
    text = write(drones, gateway_user, is_partial=pages[0].limited)
    if as_json:
        render.print_json({"acl": text, "limited": pages[0].limited})
    else:
        typer.echo(text, nl=False)
