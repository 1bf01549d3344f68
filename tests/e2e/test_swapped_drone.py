"""A dock that changes its drone, from a submission to what reaches the dock."""

from pathlib import Path

import pytest
from support import gateway
from support.brokers import RunningBroker

from dockgate.downlink.v1.error_reason_pb2 import FAILURE_CODE_DEVICE_OFFLINE
from dockgate_server import simulate

pytestmark = pytest.mark.broker


async def test_the_drone_that_is_there_now_does_nothing_for_the_one_that_was(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """What is for itself it does."""
    async with gateway.running(broker.url, tmp_path) as running:
        async with simulate.SimulatedDock(gateway.quick_dock(broker)) as dock:
            await dock.wait_ready()
        config = gateway.quick_dock(broker, drone="drone-009")
        async with simulate.SimulatedDock(config) as dock:
            await dock.wait_ready()
            request = gateway.recording_start("for the one that was")
            command = (await running.stub.SubmitCommand(request)).command
            last = (await running.events(command.command_id))[-1].command
            assert last.failure_code == FAILURE_CODE_DEVICE_OFFLINE
            reason = "gateway dock-001 has drone drone-009 now, and not drone-001"
            assert last.failure_reason == reason
            request = gateway.recording_start("for the one that is", "drone-009")
            command = (await running.stub.SubmitCommand(request)).command
            assert await running.end_of(command.command_id) == "SUCCEEDED"
            assert [one.tid for one in await dock.wait_received(1)] == [command.command_id]
