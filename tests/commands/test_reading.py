"""Getting and listing commands."""

import pytest
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import cursor
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller

OTHER = Caller("other", "p")


async def test_a_command_is_given_as_it_is_now(core: Core) -> None:
    """To its own tenant."""
    command_id = (await core.commands.submit(LOCAL, recording_start("k"))).command.id
    await core.reply(command_id, {"result": 0})
    command = await core.commands.get(LOCAL, pb.GetCommandRequest(command_id=command_id))
    assert command.status.is_end
    for caller, one in ((OTHER, command_id), (LOCAL, "no such")):
        with pytest.raises(DockgateError) as refused:
            await core.commands.get(caller, pb.GetCommandRequest(command_id=one))
        assert refused.value.reason is Reason.COMMAND_NOT_FOUND
        assert refused.value.metadata == {"command_id": one}


async def test_an_id_must_be_given(core: Core) -> None:
    """An empty one is a mistake, not a command that is not found."""
    with pytest.raises(DockgateError) as refused:
        await core.commands.get(LOCAL, pb.GetCommandRequest())
    assert refused.value.reason is Reason.VALIDATION_FAILED
    assert [violation.field for violation in refused.value.violations] == ["command_id"]


async def test_pages_lead_from_one_to_the_next(core: Core) -> None:
    """Newest first; an empty token behind the last one."""
    ids = [
        (await core.commands.submit(LOCAL, recording_start(str(n)))).command.id for n in range(5)
    ]
    seen: list[str] = []
    token = ""
    for _ in range(3):
        request = pb.ListCommandsRequest(page_size=2, page_token=token)
        page, token = await core.commands.list(LOCAL, request)
        seen += [command.id for command in page.commands]
    assert (seen, token) == (ids[::-1], "")
    page, token = await core.commands.list(OTHER, pb.ListCommandsRequest())
    assert (page.commands, token) == ((), "")


async def test_a_page_has_fifty_unless_told_otherwise(core: Core) -> None:
    """Not all there are."""
    for number in range(52):
        await core.commands.submit(LOCAL, recording_start(str(number)))
    page, token = await core.commands.list(LOCAL, pb.ListCommandsRequest())
    assert len(page.commands) == 50
    assert token


async def test_a_list_can_be_filtered(core: Core) -> None:
    """By device, type and status."""
    one = (await core.commands.submit(LOCAL, recording_start("1"))).command.id
    two = (await core.commands.submit(LOCAL, recording_start("2", device_id="dock-001"))).command.id
    await core.reply(two, {"result": 1})
    failed = [command_pb2.COMMAND_STATUS_FAILED]
    for request, expected in (
        (pb.ListCommandsRequest(device_id="drone-001"), [one]),
        (pb.ListCommandsRequest(statuses=failed), [two]),
        (pb.ListCommandsRequest(statuses=failed, device_id="drone-001"), []),
        (pb.ListCommandsRequest(command_type="camera_recording_start"), [two, one]),
        (pb.ListCommandsRequest(command_type="charge_open"), []),
    ):
        page, _ = await core.commands.list(LOCAL, request)
        assert [command.id for command in page.commands] == expected


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListCommandsRequest(page_size=-1), "page_size"),
        (pb.ListCommandsRequest(page_size=501), "page_size"),
        (pb.ListCommandsRequest(page_token="x"), "page_token"),
        (pb.ListCommandsRequest(page_token=cursor.write(cursor.RESUME, 1)), "page_token"),
        (pb.ListCommandsRequest(statuses=[0]), "statuses[0]"),
        (pb.ListCommandsRequest(statuses=[1, 99]), "statuses[1]"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(
    core: Core, request_: pb.ListCommandsRequest, field: str
) -> None:
    """With the field at fault."""
    with pytest.raises(DockgateError) as refused:
        await core.commands.list(LOCAL, request_)
    assert refused.value.reason is Reason.VALIDATION_FAILED
    assert [violation.field for violation in refused.value.violations] == [field]
