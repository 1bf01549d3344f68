"""The main job with real parts: gRPC, SQLite, a broker, a simulated dock."""

import asyncio
from pathlib import Path

import pytest
from support import gateway
from support.brokers import RunningBroker
from support.gateway import quick_dock, recording_start

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import simulate
from dockgate_server.model.command import CommandFilter

pytestmark = pytest.mark.broker


def dock_on(broker: RunningBroker) -> simulate.SimulatedDock:
    """A dock with a drone that answers at once."""
    return simulate.SimulatedDock(quick_dock(broker))


def commands_of(simulated: simulate.SimulatedDock) -> list[simulate.Received]:
    """The commands that reached the dock."""
    return [message for message in simulated.received if message.on == "services"]


def kinds(events: list[command_pb2.CommandEvent]) -> list[str]:
    """What happened, in order."""
    names = (command_pb2.CommandEventKind.Name(event.kind) for event in events)
    return [name.removeprefix("COMMAND_EVENT_KIND_") for name in names]


async def test_a_command_is_delivered_and_succeeds(broker: RunningBroker, tmp_path: Path) -> None:
    """Submitted over gRPC, published once, answered by the dock, seen by the watcher."""
    async with gateway.running(broker.url, tmp_path) as running, dock_on(broker) as simulated:
        await simulated.wait_ready()

        submitted = await running.stub.SubmitCommand(recording_start("k1"))
        events = await running.events(submitted.command.command_id)

        last = events[-1].command
        assert last.status == command_pb2.COMMAND_STATUS_SUCCEEDED
        assert last.completion_basis == command_pb2.COMPLETION_BASIS_DEVICE_REPLY
        assert last.response_code == "0"
        # The answer may overtake the broker's acknowledgement; both orders are right.
        assert kinds(events) in (
            ["ACCEPTED", "SENDING", "DELIVERED", "REPLIED"],
            ["ACCEPTED", "SENDING", "REPLIED"],
        )
        (received,) = commands_of(simulated)
        assert (received.method, received.data) == (
            "camera_recording_start",
            {"payload_index": "39-0-7"},
        )
        assert received.tid == submitted.command.command_id


async def test_a_job_is_followed_to_its_end(broker: RunningBroker, tmp_path: Path) -> None:
    """SUCCEEDED means "started"; the job's steps come behind it on the same watch."""
    async with gateway.running(broker.url, tmp_path) as running, dock_on(broker) as simulated:
        await simulated.wait_ready()
        request = pb.SubmitCommandRequest(device_id="dock-001", idempotency_key="k1")
        request.dji.charge_open.SetInParent()

        submitted = await running.stub.SubmitCommand(request)
        events = await running.events(submitted.command.command_id, follow_job=True)

        assert commands_of(simulated)[0].data is None
        job = events[-1].command.job
        assert (job.state, job.percent) == (command_pb2.JOB_STATE_OK, 100)
        assert events[-1].command.status == command_pb2.COMMAND_STATUS_SUCCEEDED
        assert "JOB_PROGRESSED" in kinds(events)


@pytest.mark.parametrize(
    ("behaviour", "end"),
    [
        (simulate.WrongMethod(), "UNMATCHED_RESPONSE"),
        (simulate.NoResult(), "UNMATCHED_RESPONSE"),
        (simulate.Twice(), "SUCCEEDED"),
        (simulate.Silent(), "TIMED_OUT"),
        (simulate.WrongTid(), "TIMED_OUT"),
        (simulate.Unreadable(), "TIMED_OUT"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_a_dock_that_misbehaves_is_recorded_truthfully(
    mosquitto: RunningBroker, tmp_path: Path, behaviour: simulate.Behaviour, end: str
) -> None:
    """Whatever the dock does, the command ends in the status that says what is known."""
    async with gateway.running(mosquitto.url, tmp_path) as running, dock_on(mosquitto) as simulated:
        await simulated.wait_ready()
        simulated.behave(None, behaviour)

        submitted = await running.stub.SubmitCommand(recording_start("k1", timeout_seconds=1))
        events = await running.events(submitted.command.command_id)

        status = command_pb2.CommandStatus.Name(events[-1].command.status)
        assert status == f"COMMAND_STATUS_{end}"


async def test_nobody_at_the_broker_means_device_offline(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    """The broker says that it has thrown the message away: that is no delivery."""
    # A dock that had been there would have told by its last will that it is gone.
    devices = [{"id": "drone-001", "gateway": "dock-001"}]
    async with gateway.running(mosquitto.url, tmp_path, devices=devices) as running:
        submitted = await running.stub.SubmitCommand(recording_start("k1"))
        events = await running.events(submitted.command.command_id)

        assert kinds(events) == ["ACCEPTED", "SENDING", "REFUSED"]
        assert events[-1].command.failure_code == 2  # FAILURE_CODE_DEVICE_OFFLINE


async def test_a_reply_sent_while_the_server_was_away_arrives_after_its_restart(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    """The broker keeps it for our session; the record then says what the device did."""
    async with dock_on(mosquitto) as simulated:
        async with gateway.running(mosquitto.url, tmp_path) as running:
            await simulated.wait_ready()
            simulated.behave(None, simulate.Slow(0.3))
            submitted = await running.stub.SubmitCommand(recording_start("k1"))
            await simulated.wait_received(1)

        async with gateway.running(mosquitto.url, tmp_path) as running:
            assert await running.end_of(submitted.command.command_id) == "SUCCEEDED"
        assert len(commands_of(simulated)) == 1


async def test_a_command_accepted_while_the_broker_is_away_is_sent_when_it_returns(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    """Accepted means: it will be sent, or end in a stated reason."""
    async with gateway.running(mosquitto.url, tmp_path) as running, dock_on(mosquitto) as simulated:
        await simulated.wait_ready()
        mosquitto.stop()
        # Whether the gateway has noticed or not: the command must not be lost.
        submitted = await running.stub.SubmitCommand(recording_start("k1"))

        mosquitto.start()
        status = await running.end_of(submitted.command.command_id)

        # The dock may come back after us; then the broker says that nobody listens.
        assert status in ("SUCCEEDED", "FAILED")
        assert len(commands_of(simulated)) == (1 if status == "SUCCEEDED" else 0)


async def test_a_topology_is_answered_and_survives_a_restart(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    """A drone belongs to the dock that announced it, also before the dock says so again."""
    async with gateway.running(mosquitto.url, tmp_path), dock_on(mosquitto) as simulated:
        await simulated.wait_ready()

    async with gateway.running(mosquitto.url, tmp_path) as running:
        submitted = await running.stub.SubmitCommand(recording_start("k1"))

    assert submitted.command.gateway_id == "dock-001"


async def test_a_thousand_commands_are_all_carried_out_once_and_in_order(
    mosquitto: RunningBroker, tmp_path: Path
) -> None:
    """More than fit into the publish window, submitted as fast as the client can."""
    async with gateway.running(mosquitto.url, tmp_path) as running, dock_on(mosquitto) as simulated:
        await simulated.wait_ready()
        accepted = []
        for number in range(0, 1000, 50):
            group = [
                running.stub.SubmitCommand(recording_start(f"k{number + i}")) for i in range(50)
            ]
            answers = await asyncio.gather(*group)
            accepted += [answer.command.command_id for answer in answers]

        ends = await asyncio.gather(*(running.end_of(command_id) for command_id in accepted))

        assert set(ends) == {"SUCCEEDED"}
        sent = [received.tid for received in commands_of(simulated)]
        assert len(sent) == len(set(sent)) == 1000
        newest_first = await running.app.store.list_commands(
            "default", CommandFilter(), before=None, limit=2000
        )
        assert sent == [command.id for command in reversed(newest_first.commands)]
