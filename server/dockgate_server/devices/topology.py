"""Reading what a gateway device announces. Source: DJI's device page, update_topo."""

from collections.abc import Mapping

from dockgate_server.model.device import SERIAL_NUMBER, Topology

MOST_SUB_DEVICES = 32
"""Of one gateway device, which has one drone or two: the others are made up."""


def read_topology(gateway_id: str, data: object, seen_at: int) -> Topology | None:
    """The topology that the ``data`` of an update_topo holds; None when there is none.

    A drone that is away leaves ``sub_devices`` empty.
    """
    if not isinstance(data, Mapping) or not SERIAL_NUMBER.fullmatch(gateway_id):
        return None
    listed = data.get("sub_devices")
    found = []
    for one in listed if isinstance(listed, list) else ():
        serial_number = one.get("sn") if isinstance(one, Mapping) else None
        if isinstance(serial_number, str) and SERIAL_NUMBER.fullmatch(serial_number):
            found.append((serial_number, _model(one)))
    return Topology(gateway_id, _model(data), tuple(found[:MOST_SUB_DEVICES]), seen_at)


def _model(data: Mapping[str, object]) -> str:
    parts = [data.get(name) for name in ("domain", "type", "sub_type")]
    return "-".join(str(p) for p in parts) if all(isinstance(p, int | str) for p in parts) else ""
