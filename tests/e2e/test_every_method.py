"""Every method of the schema, over gRPC to a dock and back, with real parts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import gateway
from support.brokers import RunningBroker
from support.gateway import Gateway
from support.records import ledger

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import simulate
from dockgate_server.codec import catalogue, channels, dji_json
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import Channel
from dockgate_server.model.device import Device

pytestmark = pytest.mark.broker

GOLDEN = Path(__file__).parent.parent / "schema" / "golden"
NAMED = ("1581F5BMD228Q00A82XX", "7CTDM3D00B8DC7", "7CTDM3D00B8DC8")
"""The devices of a flight between two docks, which must be known."""
ON = {Channel.SERVICES: "services", Channel.PROPERTY_SET: "set", Channel.DRC: "down"}


@pytest.fixture
async def running(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """The gateway with everything switched on, and the dock online."""
    switched_on = {"control_streams": True, "raw_methods": True}
    async with gateway.running(mosquitto.url, tmp_path, commands=switched_on) as running:
        await dock.wait_ready()
        for serial_number in NAMED:
            named = Device(DEFAULT_TENANT, serial_number, serial_number)
            await running.app.registry.register(named)
        yield running


def payload(name: str) -> dict[str, Any]:
    """The golden payload of a method."""
    golden = orjson.loads((GOLDEN / f"{name}.json").read_bytes())
    return (golden["payload"] if golden and "vendor" in golden else golden) or {}


def submission(name: str, key: str) -> pb.SubmitCommandRequest:
    """A valid submission of a method."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key=key)
    message = getattr(request.dji, name)
    message.SetInParent()
    values = payload(name)
    index = next(iter(values), "")
    if "payload_index" in message.DESCRIPTOR.fields_by_name and index not in (
        message.DESCRIPTOR.fields_by_name
    ):
        # On the wire the payload's index is the key of the rest.
        values = {"payload_index": index, **values[index]} if index else values
    assert dji_json.from_dict(values, message) == []
    return request


async def submitted(running: Gateway, request: pb.SubmitCommandRequest) -> str:
    """Submit a command that is accepted."""
    return str((await running.stub.SubmitCommand(request)).command.command_id)


async def test_every_method_is_carried_out_on_its_channel(
    running: Gateway, dock: simulate.SimulatedDock
) -> None:
    """All of them succeed, and the dock receives exactly the golden payload."""

    async def carried_out(name: str) -> tuple[str, str]:
        command_id = await submitted(running, submission(name, name))
        return name, await running.end_of(command_id)

    ends = await asyncio.gather(*(carried_out(name) for name in catalogue.METHODS))

    assert [name for name, end in ends if end != "SUCCEEDED"] == []
    received: dict[str, Any] = {}
    for message in dock.received:
        if message.on in ON.values():
            name = message.method or _property(message.data)
            received[name] = (message.on, message.data)
    for name, method in catalogue.METHODS.items():
        on, data = received[name]
        assert on == ON[channels.BY_OPTION[method.spec.channel]], name
        assert (data or {}) == _normal(payload(name)), name


def _property(data: Any) -> str:
    (name,) = data
    return name if name in catalogue.METHODS else next(iter(data[name]))


def _normal(values: dict[str, Any]) -> dict[str, Any]:
    """The platform's example prints {} where a list stands; the device expects a list."""
    for file in values.get("params", {}).get("files", []):
        if file.get("list") == {}:
            file["list"] = []
    return values


async def test_a_property_that_is_taken_in_part_fails_and_names_the_members(
    running: Gateway, dock: simulate.SimulatedDock
) -> None:
    """Each member has a result of its own."""
    dock.behave("distance_limit_status", simulate.MemberFails("state", 2))

    command_id = await submitted(running, submission("distance_limit_status", "k"))
    command = (await running.events(command_id))[-1].command

    assert command.status == command_pb2.COMMAND_STATUS_FAILED
    assert command.response_code == "2"
    assert "distance_limit_status.state: 2 (timed out)" in command.failure_reason


async def test_drc_sequence_numbers_rise_over_a_restart(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> None:
    """A number that began again would let an old answer pass for a new one."""
    for run in range(2):
        async with gateway.running(mosquitto.url, tmp_path) as running:
            await dock.wait_ready()
            for number in range(3):
                request = submission("drc_camera_recording_start", f"{run}-{number}")
                assert await running.end_of(await submitted(running, request)) == "SUCCEEDED"
    numbers = [message.seq for message in dock.received if message.on == "down"]
    assert len(numbers) == 6
    assert numbers == sorted(set(numbers))


async def test_an_answer_with_another_sequence_number_is_no_answer(
    running: Gateway, dock: simulate.SimulatedDock
) -> None:
    """It goes to the ledger, and the command times out."""
    dock.behave("drc_camera_recording_start", simulate.WrongTid())
    request = submission("drc_camera_recording_start", "k")
    request.timeout_seconds = 1

    assert await running.end_of(await submitted(running, request)) == "TIMED_OUT"
    (entry, *_) = await ledger(running.app.store)
    assert entry.method == "drc_camera_recording_start"


async def test_methods_without_a_number_are_sent_one_at_a_time(
    running: Gateway, dock: simulate.SimulatedDock
) -> None:
    """Their answer names no more than the method."""
    dock.behave("drc_live_lens_change", simulate.Slow(0.1))
    ids = [
        await submitted(running, submission("drc_live_lens_change", f"k{number}"))
        for number in range(3)
    ]
    first = asyncio.ensure_future(running.end_of(ids[0]))
    await dock.wait_received(1, on="down")
    assert len([one for one in dock.received if one.on == "down"]) == 1
    assert await first == "SUCCEEDED"
    assert [await running.end_of(one) for one in ids[1:]] == ["SUCCEEDED", "SUCCEEDED"]


async def test_a_control_stream_ends_with_its_sending(
    running: Gateway, dock: simulate.SimulatedDock
) -> None:
    """QoS 0, one second, no answer: the record says what its end rests on."""
    command_id = await submitted(running, submission("stick_control", "k"))
    command = (await running.events(command_id))[-1].command

    assert command.status == command_pb2.COMMAND_STATUS_SUCCEEDED
    assert command.completion_basis == command_pb2.COMPLETION_BASIS_LOCAL_SEND
    (message,) = await dock.wait_received(1, on="down")
    assert (message.qos, message.expiry_seconds) == (0, 1)


async def test_a_reply_with_more_than_a_result_is_typed(
    running: Gateway, dock: simulate.SimulatedDock
) -> None:
    """Whatever form the device gives its numbers; unknown members stay in vendor_response."""
    listed = {"device_sn": "1ZN", "module": 3, "result": 0, "list": [{"boot_index": "4"}]}
    dock.behave("fileupload_list", simulate.Reply({"result": 0, "files": [listed], "new": 1}))

    command_id = await submitted(running, submission("fileupload_list", "k"))
    command = (await running.events(command_id))[-1].command

    (file,) = command.reply.fileupload_list.files
    assert (file.device_sn, file.module, file.list[0].boot_index) == ("1ZN", "3", 4)
    assert command.vendor_response["new"] == 1


@pytest.mark.parametrize("channel", ["services", "property_set", "drc"])
async def test_a_raw_method_travels_as_it_is(
    running: Gateway, dock: simulate.SimulatedDock, channel: str
) -> None:
    """A method newer than the schema, by whichever channel."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key=channel)
    request.dji.raw_method.method = "newest_thing"
    request.dji.raw_method.channel = channel
    request.dji.raw_method.data.update(
        {"newest_thing": 7} if channel == "property_set" else {"n": 7}
    )

    command_id = await submitted(running, request)

    assert await running.end_of(command_id) == "SUCCEEDED"
    (message,) = await dock.wait_received(1, on=ON[Channel(channel)])
    assert b"7.0" not in message.payload


async def test_raw_methods_and_control_streams_are_off_by_default(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    """They get around the rules, or steer an aircraft: somebody has to want them."""
    raw = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="raw")
    raw.dji.raw_method.method = "newest_thing"
    raw.dji.raw_method.channel = "services"
    async with gateway.running(mosquitto.url, tmp_path) as running:
        for request in (raw, submission("stick_control", "stick")):
            with pytest.raises(Exception, match="switched off"):
                await submitted(running, request)
