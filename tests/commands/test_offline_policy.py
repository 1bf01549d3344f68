"""What becomes of a command while its dock is away: the method's policy, or the caller's."""

import pytest
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL
from dockgate_server.model.command import OfflinePolicy


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (command_pb2.OFFLINE_POLICY_UNSPECIFIED, OfflinePolicy.FAIL_FAST),
        (command_pb2.OFFLINE_POLICY_FAIL_FAST, OfflinePolicy.FAIL_FAST),
        (command_pb2.OFFLINE_POLICY_QUEUE, OfflinePolicy.QUEUE),
    ],
)
async def test_the_callers_policy_goes_before_the_methods(
    core: Core, said: command_pb2.OfflinePolicy.ValueType, means: OfflinePolicy
) -> None:
    """And is stored with the command, as a restart has to know it."""
    accepted = await core.commands.submit(LOCAL, recording_start("k", offline_policy=said))
    command = await core.store.get_command("default", accepted.command.id)
    assert command is not None
    assert command.offline_policy is accepted.command.offline_policy is means


@pytest.mark.parametrize(
    ("method", "policy"),
    [
        ("takeoff_to_point", OfflinePolicy.FAIL_FAST),
        ("flighttask_execute", OfflinePolicy.FAIL_FAST),
        ("camera_photo_take", OfflinePolicy.FAIL_FAST),
        ("drc_force_landing", OfflinePolicy.FAIL_FAST),
        ("device_reboot", OfflinePolicy.FAIL_FAST),  # dangerous: not when nobody expects it
        ("cover_force_close", OfflinePolicy.FAIL_FAST),
        ("charge_open", OfflinePolicy.QUEUE),
        ("fileupload_list", OfflinePolicy.QUEUE),
        ("silent_mode", OfflinePolicy.QUEUE),
        ("flight_areas_update", OfflinePolicy.QUEUE),
    ],
)
def test_flying_filming_and_steering_are_for_now(method: str, policy: OfflinePolicy) -> None:
    """So is what is dangerous; anything else may wait for the dock."""
    assert catalogue.METHODS[method].offline_policy is policy


def test_a_raw_method_does_not_wait() -> None:
    """Nothing is known of it."""
    request = pb.SubmitCommandRequest()
    request.dji.raw_method.method = "brand_new"
    assert catalogue.raw(request.dji.raw_method).offline_policy is OfflinePolicy.FAIL_FAST


async def test_the_policy_is_part_of_what_an_idempotency_key_stands_for(core: Core) -> None:
    """As sent: absent is not the same as the default that it leads to."""
    fail_fast = command_pb2.OFFLINE_POLICY_FAIL_FAST
    await core.commands.submit(LOCAL, recording_start("k"))
    with pytest.raises(DockgateError) as refused:
        await core.commands.submit(LOCAL, recording_start("k", offline_policy=fail_fast))
    assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT


async def test_a_control_stream_cannot_be_queued(core: Core) -> None:
    """It is outdated in a second."""
    request = pb.SubmitCommandRequest(
        device_id="dock-001",
        idempotency_key="k",
        offline_policy=command_pb2.OFFLINE_POLICY_QUEUE,
    )
    request.dji.heart_beat.timestamp = 1
    with pytest.raises(DockgateError) as refused:
        await core.commands.submit(LOCAL, request)
    assert [one.field for one in refused.value.violations] == ["offline_policy"]


async def test_an_unknown_policy_is_refused(core: Core) -> None:
    """A later client's word must not be taken for the default."""
    with pytest.raises(DockgateError) as refused:
        await core.commands.submit(LOCAL, recording_start("k", offline_policy=7))  # type: ignore[arg-type]
    assert [one.field for one in refused.value.violations] == ["offline_policy"]
