"""Registration: what a dock asks, in this order, before it announces itself.

DJI: dock-to-cloud/mqtt/dock/dock3/config and organization, and their sequence diagram.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dockgate_server.simulate.config import DockConfig

Ask = Callable[[str, Any], Awaitable[Any]]
"""Asks the cloud, by method and data, and returns the data of its answer."""

# domain-type-sub_type: a Dock 3, and a Matrice 4TD.
_DOCK, _DRONE = "3-3-0", "0-100-1"


class Refused(Exception):
    """The cloud has answered a request in a way that keeps the dock from coming online."""

    def __init__(self, method: str, why: str) -> None:
        """Take the request that was refused, and in which words or numbers."""
        super().__init__(f"{method}: {why}")
        self.method = method


async def register(ask: Ask, config: DockConfig) -> None:
    """Go through the registration; a dock that is bound already skips its second half.

    Raises:
        Refused: the cloud does not let it in.
    """
    serial_numbers = (config.gateway, config.drone)
    method = "config"
    check_config(await ask(method, {"config_type": "json", "config_scope": "product"}))
    method = "airport_bind_status"
    answer = await ask(method, {"devices": [{"sn": one} for one in serial_numbers]})
    if are_bound(output_of(method, answer), serial_numbers):
        return
    whose = {
        "device_binding_code": config.binding_code,
        "organization_id": config.organization,
    }
    method = "airport_organization_get"
    name = output_of(method, await ask(method, whose)).get("organization_name")
    if not isinstance(name, str) or not name:
        raise Refused(method, "the answer names no organization")
    method = "airport_organization_bind"
    devices = [
        {**whose, "sn": one, "device_callsign": one, "device_model_key": model}
        for one, model in zip(serial_numbers, (_DOCK, _DRONE), strict=True)
    ]
    check_bound(output_of(method, await ask(method, {"bind_devices": devices})))


def check_config(data: Any) -> None:
    """Look whether an answer to `config` has what a dock needs; it is not wrapped in output.

    Raises:
        Refused: it has not.
    """
    if not isinstance(data, dict) or data.get("result", 0) != 0:
        raise Refused("config", f"the answer is {_words(data)}")
    for member in ("app_id", "app_key", "app_license", "ntp_server_host"):
        value = data.get(member)
        # DJI's table says text, its example of app_id is a number.
        if not (isinstance(value, str | int) and str(value)):
            raise Refused("config", f"the answer has no {member}")


def output_of(method: str, data: Any) -> dict[str, Any]:
    """Return the output of an answer with result 0.

    Raises:
        Refused: the result is another, or there is no output.
    """
    if not isinstance(data, dict) or data.get("result") != 0:
        raise Refused(method, f"the answer is {_words(data)}")
    output = data.get("output")
    if not isinstance(output, dict):
        raise Refused(method, "the answer has no output")
    return output


def are_bound(output: dict[str, Any], serial_numbers: tuple[str, ...]) -> bool:
    """Tell whether the output of `airport_bind_status` says of all devices that they are bound."""
    listed = output.get("bind_status")
    bound = {
        one.get("sn")
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and one.get("is_device_bind_organization") is True
    }
    return bound.issuperset(serial_numbers)


def check_bound(output: dict[str, Any]) -> None:
    """Look whether the output of `airport_organization_bind` names a device that it refuses.

    Raises:
        Refused: it does.
    """
    errors = output.get("err_infos")
    codes = [
        f"{one.get('sn')} is refused with {one.get('err_code')}"
        for one in (errors if isinstance(errors, list) else ())
        if isinstance(one, dict) and one.get("err_code") != 0
    ]
    if codes:
        raise Refused("airport_organization_bind", ", ".join(codes))


def _words(data: Any) -> str:
    """Return in a few words what is wrong with an answer, without what it may hold in secret."""
    if not isinstance(data, dict):
        return "no object"
    said = data.get("message") or data.get("msg")
    result = f"result {data['result']}" if "result" in data else "without a result"
    return f"{result}, {said}" if isinstance(said, str) else result
