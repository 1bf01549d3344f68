"""A simulated dock that asks, through real brokers; answered at once, or by a person over HTTP."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from support import gateway, health
from support.brokers import RunningBroker
from support.gateway import Gateway
from support.signed_client import SignedClient

from dockgate.dji.v1 import wayline_pb2
from dockgate.downlink.v1 import command_service_pb2, device_request_pb2
from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate.downlink.v1.device_request_service_pb2_grpc import DeviceRequestServiceStub
from dockgate_server import simulate
from dockgate_server.access.keys import Keys
from dockgate_server.clock import SystemClock
from dockgate_server.model.caller import LOCAL, Scope

pytestmark = pytest.mark.broker

SECRETS = ("hush-key", "hush-licence", "hush-code", "hush-storage")
SETTINGS: dict[str, Any] = {
    "registration": {
        "app_id": "123456",
        "app_key": "hush-key",
        "app_license": "hush-licence",
        "organizations": [{"id": "o-1", "name": "One", "binding_code": "hush-code"}],
    },
    "object_storage": {
        "bucket": "media",
        "endpoint": "https://s3.example",
        "region": "eu-central-1",
        "access_key_id": "AKIA",
        "access_key_secret": "hush-storage",
    },
}
REGISTRATION = [
    "config",
    "airport_bind_status",
    "airport_organization_get",
    "airport_organization_bind",
]


@contextlib.asynccontextmanager
async def _dock(
    broker: RunningBroker, code: str = "hush-code", organization: str = "o-1", **config: Any
) -> AsyncIterator[simulate.SimulatedDock]:
    config = {"register": True, "organization": organization, "binding_code": code, **config}
    async with simulate.SimulatedDock(gateway.quick_dock(broker, **config)) as dock:
        yield dock


async def _requests(running: Gateway) -> list[tuple[str, str, str]]:
    """Type, answer and state of all requests, oldest first."""
    stub = DeviceRequestServiceStub(running.channel)
    answer = await stub.ListDeviceRequests(pb.ListDeviceRequestsRequest())
    status = device_request_pb2.DeviceRequestStatus
    return [
        (one.request_type, one.replied_by, status.Name(one.status).rpartition("_")[2])
        for one in reversed(answer.requests)
    ]


def _stored(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("dockgate.db*"))


async def test_a_dock_that_insists_on_the_whole_registration_comes_online(
    broker: RunningBroker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In less than a second; bound once, it need not be bound again. No secret is left behind."""
    async with gateway.running(broker.url, tmp_path, **SETTINGS) as running:
        # A dock repeats what nobody heard after 5 s only.
        await health.until(running.channel, "dispatch")
        began = time.monotonic()
        async with _dock(broker) as dock:
            await dock.wait_ready(within=10)
            took = time.monotonic() - began
        assert took < 1.0
        expected = [(one, "registration", "REPLIED") for one in REGISTRATION]
        assert await _requests(running) == expected
        device = running.app.registry.resolve(LOCAL.tenant, "drone-001")
        assert (device.gateway_id, device.callsign) == ("dock-001", "drone-001")
        async with _dock(broker) as dock:
            await dock.wait_ready(within=10)
        assert await _requests(running) == expected + expected[:2]
        stored = _stored(tmp_path)
    said = "".join(capfd.readouterr())
    for secret in SECRETS:
        assert secret.encode() not in stored
        assert secret not in said


@pytest.mark.parametrize("wrong", [{"code": "other"}, {"organization": "o-2"}])
async def test_a_dock_with_a_wrong_binding_is_told_so(
    mosquitto: RunningBroker, tmp_path: Path, wrong: dict[str, str]
) -> None:
    """It says so in one line, and stays offline; the record shows it too."""
    async with gateway.running(mosquitto.url, tmp_path, **SETTINGS) as running:
        async with _dock(mosquitto, **wrong) as dock:
            refusal = await dock.wait_refused(within=10)
        assert refusal == (
            "airport_organization_get: the answer is result 210231, there is no such "
            "organisation, or its binding code is another"
        )
        assert not dock.ready
        stub = DeviceRequestServiceStub(running.channel)
        request = pb.ListDeviceRequestsRequest(request_type="airport_organization_get")
        (recorded,) = (await stub.ListDeviceRequests(request)).requests
        assert recorded.reply_code == 210231
        assert "binding code" in recorded.reply_message


async def test_a_take_off_waits_for_nothing(mosquitto: RunningBroker, tmp_path: Path) -> None:
    """Areas, map, route and storage are answered at once; the route is the one submitted."""
    async with (
        gateway.running(mosquitto.url, tmp_path, **SETTINGS) as running,
        _dock(mosquitto) as dock,
    ):
        await dock.wait_ready(within=10)
        request = command_service_pb2.SubmitCommandRequest(
            device_id="dock-001", idempotency_key="prepare"
        )
        request.dji.flighttask_prepare.CopyFrom(_prepare())
        prepared = (await running.stub.SubmitCommand(request)).command
        assert await running.end_of(prepared.command_id) == "SUCCEEDED"
        request = command_service_pb2.SubmitCommandRequest(
            device_id="dock-001", idempotency_key="execute"
        )
        request.dji.flighttask_execute.flight_id = "f-1"
        began = time.monotonic()
        flown = (await running.stub.SubmitCommand(request)).command
        await running.events(flown.command_id, follow_job=True)
        assert time.monotonic() - began < 5
        asked = sorted((await _requests(running))[len(REGISTRATION) :])
        assert asked == [
            ("flight_areas_get", "takeoff", "REPLIED"),
            ("flighttask_resource_get", "commands", "REPLIED"),
            ("offline_map_get", "takeoff", "REPLIED"),
            ("storage_config_get", "object_storage", "REPLIED"),
        ]
        answer = await dock.ask("flighttask_resource_get", {"flight_id": "f-1"})
        file = {"url": "https://files.example/1.kmz", "fingerprint": "abc"}
        assert answer == {"result": 0, "output": {"file": file}}


def _prepare() -> wayline_pb2.FlighttaskPrepare:
    prepare = wayline_pb2.FlighttaskPrepare(
        flight_id="f-1",
        execute_time=0,
        task_type=wayline_pb2.FlighttaskPrepare.TaskType.Value("TASK_TYPE_IMMEDIATE"),
        rth_altitude=100,
        rth_mode=0,
        out_of_control_action=0,
        exit_wayline_when_rc_lost=0,
    )
    prepare.file.url = "https://files.example/1.kmz"
    prepare.file.fingerprint = "abc"
    return prepare


async def test_a_request_that_a_person_answers_over_http_reaches_the_dock(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """And asking again shows who answered and when."""
    async with gateway.running(broker.url, tmp_path) as running:
        keys = Keys(running.app.store, tmp_path / "dockgate.db.key", SystemClock())
        scopes = (Scope.REQUESTS_READ, Scope.REQUESTS_CREATE)
        key = await keys.create("inbox", scopes=scopes)
        async with (
            simulate.SimulatedDock(gateway.quick_dock(broker, ask_every=0.2)) as dock,
            aiohttp.ClientSession() as session,
        ):
            await dock.wait_ready()
            stub = DeviceRequestServiceStub(running.channel)
            watch = stub.WatchDeviceRequests(pb.WatchDeviceRequestsRequest(), timeout=30)
            assert (await watch.read()).HasField("complete")
            asking = asyncio.create_task(dock.ask("a_newer_request", {"what": 1}))
            seen = (await watch.read()).request
            assert (seen.request_type, seen.device_id) == ("a_newer_request", "dock-001")
            client = SignedClient(running, key, session)
            path = f"/api/v1/open/device-requests/{seen.request_id}"
            body = orjson.dumps({"reply_code": 0, "payload": {"output": {"answer": 42}}})
            status, answered = await client.call("POST", f"{path}/reply", body)
            assert status == 202
            assert await asking == {"result": 0, "output": {"answer": 42}}
            status, found = await client.call("GET", path)
            assert (status, found) == (200, answered)
            assert (found["replied_by"], found["reply_source"]) == (key.key.api_id, "manual")
            assert found["received_at"] < found["replied_at"]
            status, listed = await client.call("GET", "/api/v1/open/device-requests")
            assert listed == {"items": [found]}
            changed = (await watch.read()).request
            assert changed.status == device_request_pb2.DEVICE_REQUEST_STATUS_REPLIED
            watch.cancel()
