"""Answers that are nested too deep or hardly JSON: the device has answered all the same."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.records import ledger
from support.rig import Rig, starting

from dockgate_server.model.command import Channel, FailureCode, JobState, Status

REPLIES = "thing/product/dock-001/services_reply"
DEEP = b'{"result":%s,"msg":"done","output":{"status":"sent","x":' + b"[" * 40 + b"]" * 40 + b"}}"
KEPT = "; of it only result, code, message, msg and description are kept"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """The parts, started."""
    async with starting(tmp_path / "dockgate.db") as rig:
        yield rig


@pytest.mark.parametrize(
    ("data", "flaw"),
    [
        (DEEP % b"0", "is nested too deep"),
        (b'{"result":0,"msg":"done","output":{"status":"sent","x":1e400}}', "is not valid JSON"),
        (b'{"result":0,"msg":"done","x":NaN,"output":{"status":"sent"}}', "is not valid JSON"),
        (b'{"result":0,"msg":"done","output":{"status":"sent","x":"\xff"}}', "is not valid JSON"),
    ],
    ids=["deep", "1e400", "NaN", "no UTF-8"],
)
async def test_an_answer_of_which_not_all_can_be_kept_ends_its_command(
    rig: Rig, data: bytes, flaw: str
) -> None:
    """The device has answered; its result is read, and so is the job's beginning."""
    command_id = await rig.accept(command_type="cover_open", job_key="J")
    rig.receive("one", REPLIES, b'{"tid":"%s","data":%s}' % (command_id.encode(), data))
    assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
    command = await rig.now(command_id)
    assert command.vendor_response == b'{"result":0,"msg":"done"}'
    assert command.job is not None
    assert command.job.state is JobState.SENT
    assert rig.told[-1].note == f"the reply {flaw}{KEPT}"
    assert await ledger(rig.store) == []


async def test_a_device_that_refuses_in_an_answer_that_is_hardly_json_is_heard(rig: Rig) -> None:
    """FAILED, with its code and its words."""
    command_id = await rig.accept()
    rig.receive("one", REPLIES, b'{"tid":"%s","data":%s}\0' % (command_id.encode(), DEEP % b"7"))
    assert await rig.ended(command_id) == (Status.FAILED, FailureCode.DEVICE_EXECUTION_FAILED)
    command = await rig.now(command_id)
    assert (command.response_code, command.response_message) == ("7", "done")


@pytest.mark.parametrize(
    "result", [b"NaN", b"1e400", b"9" * 400, b"-Infinity", b"[" * 40 + b"]" * 40]
)
async def test_a_result_that_cannot_be_read_is_not_made_up_for_by_the_code(
    rig: Rig, result: bytes
) -> None:
    """A reply with this tid came; what it means nobody knows, and nobody guesses."""
    command_id = await rig.accept()
    data = b'{"result":%s,"code":0}' % result
    rig.receive("one", REPLIES, b'{"tid":"%s","data":%s}' % (command_id.encode(), data))
    assert await rig.ended(command_id) == (Status.UNMATCHED_RESPONSE, None)
    (entry,) = await ledger(rig.store)
    assert entry.tid == command_id
    assert entry.reason.startswith("the reply has no readable result; the reply is n")


async def test_a_property_is_set_by_an_answer_that_is_hardly_json(rig: Rig) -> None:
    """Its results stand below its name."""
    raw = {"channel": Channel.PROPERTY_SET, "data": b'{"height_limit":100}'}
    command_id = await rig.accept(command_type="height_limit", **raw)
    data = b'{"height_limit":{"result":0},"x":NaN}'
    payload = b'{"tid":"%s","data":%s}' % (command_id.encode(), data)
    rig.receive("one", "thing/product/dock-001/property/set_reply", payload)
    assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
