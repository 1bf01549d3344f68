"""The platform pages' own requests over signed HTTP, to a dock and back, with real parts."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from support import gateway
from support.brokers import RunningBroker
from support.signed_client import SignedClient

from dockgate_server import simulate
from dockgate_server.access.keys import Keys
from dockgate_server.clock import SystemClock

pytestmark = pytest.mark.broker

COMMANDS = "/api/v1/open/downlink/commands"

# As the curl examples of the three method pages send them, byte for byte.
RECORDING_START = b'{"vendor":"dji","device_id":"drone-001","command_type":"camera_recording_start","payload":{"payload_index":"string"},"idempotency_key":"req-camera_recording_start-001","timeout_seconds":30}'  # noqa: E501
FILEUPLOAD_START = b'{"vendor":"dji","device_id":"drone-001","command_type":"fileupload_start","payload":{"bucket":"string","region":"string","credentials":{"access_key_id":"id-001","access_key_secret":"string","expire":0,"security_token":"string"},"endpoint":"string","provider":"string","params":{"files":[{"list":{},"module":"string","object_key":"string"}]}},"idempotency_key":"req-fileupload_start-001","timeout_seconds":30}'  # noqa: E501
FLIGHTTASK_PREPARE = b'{"vendor":"dji","device_id":"drone-001","command_type":"flighttask_prepare","payload":{"execute_time":0,"exit_wayline_when_rc_lost":0,"file":{"fingerprint":"string","url":"https://example.com/path"},"flight_id":"id-001","out_of_control_action":0,"rth_altitude":0,"task_type":0,"rth_mode":0,"break_point":{"index":0,"state":0,"progress":0.0,"wayline_id":0,"break_reason":0,"latitude":0.0,"longitude":0.0,"height":0.0,"attitude_head":0.0},"executable_conditions":{"storage_capacity":0},"ready_conditions":{"battery_capacity":0,"begin_time":0,"end_time":0},"simulate_mission":{"is_enable":0,"latitude":0.0,"longitude":0.0}},"idempotency_key":"req-flighttask_prepare-001","timeout_seconds":30}'


class OpenApi(SignedClient):
    """Submits commands and waits for their end."""

    async def submit(self, body: bytes) -> str:
        """Submit a command that is accepted."""
        status, answer = await self.call("POST", COMMANDS, body)
        assert (status, answer.get("status")) == (202, "ACCEPTED"), answer
        return str(answer["command_id"])

    async def ended(self, command_id: str) -> dict[str, Any]:
        """The command once it has ended."""
        await self.running.end_of(command_id)
        status, answer = await self.call("GET", f"{COMMANDS}/{command_id}")
        assert status == 200
        return answer


@pytest.fixture
async def api(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> AsyncIterator[OpenApi]:
    """The gateway with the dock online, and a key of it."""
    async with (
        gateway.running(mosquitto.url, tmp_path) as running,
        aiohttp.ClientSession() as session,
    ):
        await dock.wait_ready()
        keys = Keys(running.app.store, tmp_path / "dockgate.db.key", SystemClock())
        yield OpenApi(running, await keys.create("test"), session)


@pytest.mark.parametrize("body", [RECORDING_START, FILEUPLOAD_START, FLIGHTTASK_PREPARE])
async def test_the_pages_own_requests_are_delivered_and_succeed(
    api: OpenApi, dock: simulate.SimulatedDock, body: bytes
) -> None:
    """What the dock receives is DJI's JSON with the payload as the page has it."""
    asked = orjson.loads(body)

    before = time.time_ns() // 1_000_000
    command_id = await api.submit(body)
    command = await api.ended(command_id)

    (received,) = await dock.wait_received(1)
    assert received.topic == "thing/product/dock-001/services"
    message = orjson.loads(received.payload)
    assert sorted(message) == ["bid", "data", "method", "tid", "timestamp"]
    assert message["method"] == asked["command_type"]
    assert before <= message["timestamp"] <= time.time_ns() // 1_000_000
    expected = asked["payload"]
    for file in expected.get("params", {}).get("files", []):
        file["list"] = []  # the page prints {}, the device expects a list
    assert orjson.dumps(message["data"], option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        expected, option=orjson.OPT_SORT_KEYS
    )
    assert command["status"] == "SUCCEEDED"
    assert command["response_code"] == "0"
    assert command["command_type"] == asked["command_type"]


async def test_a_failed_command_reads_like_the_services_reply_page(
    api: OpenApi, dock: simulate.SimulatedDock
) -> None:
    """Field by field, with the whole reply as vendor_response."""
    data = {"result": 5001, "code": 5001, "message": "camera busy", "detail": "busy"}
    dock.behave("camera_recording_start", simulate.Reply(data))

    command = await api.ended(await api.submit(RECORDING_START))

    rfc3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    times = {name: command.pop(name) for name in list(command) if name.endswith("_at")}
    assert sorted(times) == [
        "accepted_at",
        "completed_at",
        "delivered_at",
        "response_received_at",
        "updated_at",
    ]
    assert all(rfc3339.fullmatch(one) for one in times.values())
    assert command.pop("command_id")
    assert command.pop("request_id")
    assert command == {
        "status": "FAILED",
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": "camera_recording_start",
        "failure_code": "DEVICE_EXECUTION_FAILED",
        "failure_reason": "camera busy",
        "response_code": "5001",
        "response_message": "camera busy",
        "vendor_response": data,
    }


async def test_http_and_grpc_show_the_same_command(
    api: OpenApi, dock: simulate.SimulatedDock
) -> None:
    """One record behind both, and one idempotency."""
    command_id = await api.submit(RECORDING_START)
    request = gateway.recording_start("req-camera_recording_start-001", timeout_seconds=30)
    request.dji.camera_recording_start.payload_index = "string"

    again = await api.running.stub.SubmitCommand(request)

    assert again.replayed
    assert again.command.command_id == command_id


async def test_a_burst_over_both_transports_is_carried_out_once_each(
    api: OpenApi, dock: simulate.SimulatedDock
) -> None:
    """Repeating every request at the same moment creates nothing twice."""

    async def over_http(number: int) -> str:
        body = RECORDING_START.replace(b'-001"', f'-{number}"'.encode(), 2)
        body = body.replace(f"drone-{number}".encode(), b"drone-001")
        _, answer = await api.call("POST", COMMANDS, body)
        return str(answer["command_id"])

    async def over_grpc(number: int) -> str:
        key = f"req-camera_recording_start-{number}"
        request = gateway.recording_start(key, timeout_seconds=30)
        request.dji.camera_recording_start.payload_index = "string"
        return str((await api.running.stub.SubmitCommand(request)).command.command_id)

    calls = [call(number) for number in range(50) for call in (over_http, over_grpc, over_http)]
    ids = await asyncio.gather(*calls)
    await asyncio.gather(*(api.running.end_of(command_id) for command_id in set(ids)))

    assert len(set(ids)) == 50
    assert sorted(one.tid for one in dock.received if one.on == "services") == sorted(set(ids))
