"""A flight with real parts: prepared, ordered, followed to its real end."""

import asyncio
from pathlib import Path

import pytest
from support import gateway
from support.brokers import RunningBroker
from support.gateway import Gateway, quick_dock

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import simulate

pytestmark = pytest.mark.broker

FLIGHT = "flight-001"


def prepare() -> pb.SubmitCommandRequest:
    """The flight task: a wayline file, to be flown when ordered."""
    request = pb.SubmitCommandRequest(device_id="dock-001", idempotency_key="prepare")
    task = request.dji.flighttask_prepare
    task.flight_id = FLIGHT
    task.task_type = 0
    task.execute_time = 1_776_859_200_000
    task.file.url = "https://example.com/wayline.kmz"
    task.file.fingerprint = "0123456789abcdef"
    task.rth_altitude = 100
    task.rth_mode = 1
    task.out_of_control_action = 0
    task.exit_wayline_when_rc_lost = 0
    return request


async def fly(running: Gateway) -> list[command_pb2.CommandEvent]:
    """Prepare the flight, order it, and follow it to its end."""
    prepared = await running.stub.SubmitCommand(prepare())
    assert await running.end_of(prepared.command.command_id) == "SUCCEEDED"
    request = pb.SubmitCommandRequest(device_id="dock-001", idempotency_key="execute")
    request.dji.flighttask_execute.flight_id = FLIGHT
    ordered = await running.stub.SubmitCommand(request)
    return await running.events(ordered.command.command_id, follow_job=True)


def jobs(events: list[command_pb2.CommandEvent]) -> list[command_pb2.Job]:
    """What the watcher was told of the flight, in order."""
    return [event.command.job for event in events if event.command.HasField("job")]


async def test_a_flight_is_followed_step_by_step_to_its_end(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """SUCCEEDED first, as the dock took the order; then the flight until it is over."""
    async with (
        gateway.running(broker.url, tmp_path) as running,
        simulate.SimulatedDock(quick_dock(broker)) as dock,
    ):
        await dock.wait_ready()
        events = await fly(running)

    statuses = [event.command.status for event in events]
    succeeded = statuses.index(command_pb2.COMMAND_STATUS_SUCCEEDED)
    assert set(statuses[succeeded:]) == {command_pb2.COMMAND_STATUS_SUCCEEDED}
    told = jobs(events)
    assert command_pb2.JOB_STATE_IN_PROGRESS in [job.state for job in told]
    assert len({job.step for job in told}) > 2
    percents = [job.percent for job in told if job.HasField("percent")]
    assert percents == sorted(percents)
    assert (told[-1].state, told[-1].percent) == (command_pb2.JOB_STATE_OK, 100)


async def test_a_flight_that_fails_is_a_failed_job_on_a_command_that_succeeded(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """The dock took the order, and then could not fly: result and words stand with the job."""
    behaviours = {"flighttask_execute": [simulate.JobFails(314004, 15)]}
    async with (
        gateway.running(broker.url, tmp_path) as running,
        simulate.SimulatedDock(quick_dock(broker, behaviours=behaviours)) as dock,
    ):
        await dock.wait_ready()
        command = (await fly(running))[-1].command

    assert command.status == command_pb2.COMMAND_STATUS_SUCCEEDED
    job = command.job
    assert (job.state, job.result) == (command_pb2.JOB_STATE_FAILED, 314004)
    assert job.percent == 15
    assert job.result_message == "the device answered with result 314004"
    assert job.step.isdecimal()
    assert job.step_message
    assert "first Dock" not in job.step_message  # the dock has said which it is


async def test_a_flight_goes_on_being_followed_over_a_restart_of_the_gateway(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """Reports that come meanwhile wait at the broker; the job is found again."""
    dock_config = quick_dock(broker, step_every=0.05)
    async with simulate.SimulatedDock(dock_config) as dock:
        async with gateway.running(broker.url, tmp_path) as running:
            await dock.wait_ready()
            following = asyncio.create_task(fly(running))
            await dock.wait_received(2)
            (command,) = await _of_type(running, "flighttask_execute")
            command_id = command.command_id
            await running.events(command_id)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        async with gateway.running(broker.url, tmp_path) as running:
            events = await running.events(command_id, follow_job=True)
    assert events[-1].command.job.state == command_pb2.JOB_STATE_OK
    assert [event.revision for event in events] == list(range(1, len(events) + 1))


async def _of_type(running: Gateway, command_type: str) -> list[command_pb2.Command]:
    request = pb.ListCommandsRequest(command_type=command_type)
    return list((await running.stub.ListCommands(request)).commands)
