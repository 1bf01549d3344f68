"""A device that is called by a name of its owner's choice, over signed HTTP, to a dock and back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from support import gateway
from support.brokers import RunningBroker
from support.signed_client import SignedClient

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub
from dockgate_server import simulate
from dockgate_server.access.keys import Keys
from dockgate_server.clock import SystemClock
from dockgate_server.model.caller import Scope

pytestmark = pytest.mark.broker

COMMANDS = "/api/v1/open/downlink/commands"
REQUESTS = "/api/v1/open/device-requests"
SCOPES = frozenset({Scope.READ, Scope.CREATE, Scope.REQUESTS_READ})


class Api(SignedClient):
    """Names devices over gRPC, and calls them so over HTTP."""

    async def name(self, alias: str, serial_number: str) -> None:
        """Give a device a name."""
        request = pb.RegisterDeviceRequest(device_id=alias, serial_number=serial_number)
        await DeviceServiceStub(self.running.channel).RegisterDevice(request)

    async def submit(self, device_id: str) -> tuple[int, dict[str, Any]]:
        """A recording for that device; always the same submission but for the name."""
        values = {
            "vendor": "dji",
            "device_id": device_id,
            "command_type": "camera_recording_start",
            "payload": {"payload_index": "39-0-7"},
            "idempotency_key": f"alias-{device_id}",
        }
        return await self.call("POST", COMMANDS, orjson.dumps(values))


@pytest.fixture
async def api(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> AsyncIterator[Api]:
    """The gateway with the dock online, and a key of it."""
    async with (
        gateway.running(mosquitto.url, tmp_path) as running,
        aiohttp.ClientSession() as session,
    ):
        await dock.wait_ready()
        keys = Keys(running.app.store, tmp_path / "dockgate.db.key", SystemClock())
        yield Api(running, await keys.create("test", scopes=SCOPES), session)


@pytest.mark.parametrize("alias", ["roof-1", "Dach-Süd"])
async def test_a_command_for_an_alias_reaches_the_device_and_keeps_the_name(
    api: Api, dock: simulate.SimulatedDock, alias: str
) -> None:
    """Over its dock; the record says what the caller said."""
    await api.name(alias, "drone-001")
    status, accepted = await api.submit(alias)
    assert (status, accepted["status"]) == (202, "ACCEPTED")
    await api.running.end_of(accepted["command_id"])

    status, command = await api.call("GET", f"{COMMANDS}/{accepted['command_id']}")
    assert (status, command["status"], command["device_id"]) == (200, "SUCCEEDED", alias)
    (received,) = await dock.wait_received(1)
    assert received.topic == "thing/product/dock-001/services"
    assert received.tid == accepted["command_id"]

    # The same submission again is the same command, by whatever name; another name is another.
    status, again = await api.submit(alias)
    assert (status, again["command_id"]) == (200, accepted["command_id"])


async def test_a_name_that_has_moved_to_another_device_leads_there(
    api: Api, dock: simulate.SimulatedDock
) -> None:
    """The last registration holds; what is nobody's name is not found."""
    await api.name("roof-1", "drone-001")
    await api.name("roof-1", "dock-001")
    status, accepted = await api.submit("roof-1")
    assert (status, accepted["status"]) == (202, "ACCEPTED")
    request = pb.GetDeviceRequest(device_id="roof-1")
    device = (await DeviceServiceStub(api.running.channel).GetDevice(request)).device
    assert (device.device_id, device.serial_number) == ("roof-1", "dock-001")
    status, refused = await api.submit("roof-2")
    assert (status, refused["code"]) == (404, "DEVICE_NOT_FOUND")


async def test_requests_of_a_dock_are_found_by_its_alias(
    api: Api, dock: simulate.SimulatedDock
) -> None:
    """As by its serial number, which stands in each of them."""
    await dock.ask("flight_areas_get", None)
    await api.name("roof-dock", "dock-001")
    for name, count in (("dock-001", 1), ("roof-dock", 1), ("dock-002", 0)):
        status, answer = await api.call("GET", f"{REQUESTS}?device_id={name}")
        assert status == 200
        (listed,) = [one for one in answer.values() if isinstance(one, list)]
        assert [one["device_id"] for one in listed] == ["dock-001"] * count
