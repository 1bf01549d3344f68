"""Answers of devices that come while the store takes nothing, and those that are too large."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from support import log as log_support
from support.log import Log
from support.records import ledger
from support.rig import Rig, starting

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.inbound import room
from dockgate_server.inbound.replies import LARGEST_KEPT
from dockgate_server.model.command import CommandFilter, FailureCode, JobState, Status
from dockgate_server.model.reply import LONGEST_TEXT
from dockgate_server.rpc import convert


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """The parts, started."""
    async with starting(tmp_path / "dockgate.db") as rig:
        yield rig


async def test_answers_that_the_broker_does_not_keep_wait_only_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """The newest are lost, which is said; what the broker keeps is taken all the same."""
    monkeypatch.setattr(room, "MOST_WAITING", 3)
    async with starting(tmp_path / "dockgate.db") as rig:
        rig.bridge.acknowledge_at_once = True
        ids = [await rig.accept() for _ in range(6)]
        await rig.settle()
        await rig.cannot_write()
        for command_id in ids[:5]:
            rig.reply(command_id, comes_again=False)
        rig.reply(ids[5])
        await rig.store_failed()
        assert log_support.events(log).count("messages_are_being_lost") == 1
        await rig.cannot_write(False)
        rig.clock.advance(1)
        await rig.settle()
        ended = [(await rig.now(one)).status is Status.SUCCEEDED for one in ids]
        assert ended == [True, True, True, False, False, True]
        lost = [one for one in log if one["event"] == "messages_were_lost"]
        assert [(one["kind"], one["lost"]) for one in lost] == [("replies", 2)]


def _large(**said: object) -> dict[str, object]:
    """The data of a reply that is too large to be kept."""
    return {**said, "output": [1] * LARGEST_KEPT}


async def test_a_reply_that_is_too_large_to_keep_ends_its_command_all_the_same(rig: Rig) -> None:
    """What it says of the outcome is kept, and the event says that this is not all."""
    succeeded, failed = await rig.accept(), await rig.accept()
    data = _large(result=0, message="done")
    rig.reply(succeeded, data)
    rig.reply(failed, _large(result=7, code="E7", msg="x" * 1_000_000, description={"a": 1}))
    assert await rig.ended(succeeded) == (Status.SUCCEEDED, None)
    assert await rig.ended(failed) == (Status.FAILED, FailureCode.DEVICE_EXECUTION_FAILED)
    command = await rig.now(succeeded)
    assert command.vendor_response == b'{"result":0,"message":"done"}'
    assert (command.response_code, command.response_message) == ("0", "done")
    assert rig.told[-2].note == (
        f"the reply's data had {len(orjson.dumps(data))} bytes; of it only result, code, message, "
        "msg and description are kept"
    )
    command = await rig.now(failed)
    assert orjson.loads(command.vendor_response or b"") == {
        "result": 7,
        "code": "E7",
        "msg": "x" * LONGEST_TEXT,
    }
    assert command.response_message == command.failure_reason == "x" * LONGEST_TEXT


async def test_a_job_begins_with_a_reply_that_is_too_large_to_keep(rig: Rig) -> None:
    """It is read from the whole of it."""
    command_id = await rig.accept(command_type="cover_open", job_key="J")
    rig.reply(command_id, {"result": 0, "output": {"status": "sent", "x": [1] * LARGEST_KEPT}})
    await rig.ended(command_id)
    job = (await rig.now(command_id)).job
    assert job is not None
    assert job.state is JobState.SENT


async def test_what_comes_behind_the_end_is_kept_no_further(rig: Rig) -> None:
    """A late answer, a further one, and one that cannot be the answer."""
    command_id = await rig.accept(timeout_seconds=1)
    rig.clock.advance(1)
    await rig.ended(command_id)
    for data in (_large(result=0), _large(result=1), _large(result="odd"), [0] * LARGEST_KEPT):
        rig.reply(command_id, data)
        await rig.settle()
    late, further, odd, no_object = rig.told[-4:]
    assert (late.command.vendor_response, late.reply) == (b'{"result":0}', None)
    kept = [b'{"result":1}', b'{"result":"odd"}', b"null"]
    assert [one.reply for one in (further, odd, no_object)] == kept
    for event, why in (
        (late, "after the end"),
        (further, "a further reply; it changes nothing"),
        (odd, "the reply has no readable result"),
        (no_object, "the reply has no readable result"),
    ):
        assert event.note.startswith(f"{why}; the reply's data had ")
    assert [entry.data for entry in await ledger(rig.store)] == [b"null", b'{"result":"odd"}']
    assert (await ledger(rig.store))[0].reason == no_object.note


@pytest.mark.parametrize(
    ("before", "number", "behind"),
    [("[", "1", "]"), ('{"licenses":[{"area_unlock":{"area_ids":[', "-1", "]}}]}")],
)
async def test_the_largest_events_of_commands_can_be_read_by_everybody(
    rig: Rig, before: str, number: str, behind: str
) -> None:
    """Most clients refuse a message of more than 4 MiB, and a watch would break at it for ever.

    In a message JSON takes several times its room, lists of numbers most of all. Here are a
    command's answer, the same as a typed reply, and a further one, each as large as can be.
    """
    before, behind = f'{{"result":0,"output":{before}', f"{behind}}}"
    count = (LARGEST_KEPT - len(before + behind)) // (len(number) + 1)
    raw = f"{before}{','.join([number] * count)}{behind}".encode()
    command_id = await rig.accept(command_type="unlock_license_list")
    for _ in range(2):
        rig.reply(command_id, orjson.loads(raw), method="unlock_license_list")
        await rig.settle()
    event = rig.told[-1]
    assert event.command.vendor_response == event.reply == raw
    message = convert.event(event)
    assert len(message.reply.struct_value.fields) == 2
    assert message.ByteSize() < 2 * 2**20


async def test_a_page_of_the_largest_commands_can_be_read_by_everybody(rig: Rig) -> None:
    """It has as many of them as one message has room for."""
    data = {"result": 0, "output": {"licenses": [{"area_unlock": {"area_ids": [-1] * 40_000}}]}}
    for _ in range(4):
        command_id = await rig.accept(command_type="unlock_license_list")
        rig.reply(command_id, data, method="unlock_license_list")
        await rig.settle()
    page = await rig.store.list_commands("default", CommandFilter(), None, 500)
    assert (len(page.commands), page.next_before) == (3, page.commands[-1].seq)
    commands = [convert.command(command) for command in page.commands]
    assert 2 * 2**20 < pb.ListCommandsResponse(commands=commands).ByteSize() < 3 * 2**20


async def test_empty_messages_take_no_place_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """However many have come, there is room for an answer."""
    monkeypatch.setattr(room, "MOST_WAITING", 3)
    async with starting(tmp_path / "dockgate.db") as rig:
        rig.bridge.acknowledge_at_once = True
        command_id = await rig.accept()
        for number in range(3):
            topic = "thing/product/dock-001/services_reply"
            rig.receive(str(number), topic, b"", comes_again=False)
        await rig.settle()
        rig.reply(command_id, comes_again=False)
        await rig.settle()
        assert (await rig.now(command_id)).status is Status.SUCCEEDED
        assert "messages_are_being_lost" not in log_support.events(log)
