"""A command with secrets is opened for the moment of sending, also by the process after a crash."""

import uuid
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.bridge import ScriptedBridge
from support.log import Log
from support.rig import starting
from support.vault import VAULT

from dockgate_server.model.command import FailureCode, Status

WHOLE = {"url_type": 1, "url": "rtmp://host/live/hush", "video_id": "1/39-0-7/normal-0"}
KEPT = b'{"url_type":1,"url":null,"video_id":"1/39-0-7/normal-0"}'


def secret(**changed: Any) -> dict[str, Any]:
    """What of a submission makes it one with a secret."""
    command_id = str(uuid.uuid4())
    return {
        "id": command_id,
        "command_type": "live_start_push",
        "data": KEPT,
        "sealed": VAULT.seal(command_id, orjson.dumps(WHOLE)),
        **changed,
    }


async def test_it_is_sent_whole(tmp_path: Path) -> None:
    """And nothing else of it is in the events that watchers see."""
    async with starting(tmp_path / "d.db") as rig:
        rig.connect()
        command_id = await rig.accept(**secret())
        await rig.settle()
        assert rig.message(command_id).content["data"] == WHOLE
        rig.reply(command_id)
        assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
        assert {event.command.data for event in rig.told} == {KEPT}
        assert (await rig.now(command_id)).sealed is None


async def test_what_was_not_sent_is_sent_whole_by_the_next_process(tmp_path: Path) -> None:
    """Nothing but the store knows its secrets then."""
    bridge = ScriptedBridge()
    bridge.connected = False
    async with starting(tmp_path / "d.db", bridge) as rig:
        command_id = await rig.accept(**secret())
        await rig.settle()
        assert rig.sent() == []
    async with starting(tmp_path / "d.db") as rig:
        rig.connect()
        await rig.settle()
        assert rig.message(command_id).content["data"] == WHOLE


@pytest.mark.parametrize("sealed", [b"", b"\x02 damaged", VAULT.seal("another", b"{}")])
async def test_what_is_damaged_is_not_sent(tmp_path: Path, log: Log, sealed: bytes) -> None:
    """The command ends and says why; the others go on."""
    async with starting(tmp_path / "d.db") as rig:
        rig.connect()
        command_id = await rig.accept(**secret(sealed=sealed))
        assert await rig.ended(command_id) == (Status.FAILED, FailureCode.DELIVERY_REFUSED)
        other = await rig.accept()
        await rig.settle()
        assert rig.sent() == [other]
        assert "damaged" in str((await rig.now(command_id)).failure_reason)
