"""Answers of devices that come while the store takes nothing."""

from pathlib import Path

import pytest
from support import log as log_support
from support.log import Log
from support.rig import starting

from dockgate_server.inbound import room
from dockgate_server.model.command import Status


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
