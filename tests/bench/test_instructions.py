"""How much the gateway does for a command, counted in instructions of Python: no clock is asked.

A change that makes every command dearer is found here, on any machine, however busy.
"""

import asyncio
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from support import core
from support.bridge import ScriptedBridge

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.model.caller import LOCAL

LIVES: Final = 40
WARM_UP: Final = 10
SERVER: Final = str(Path(core.__file__).parents[2] / "server" / "dockgate_server")

COUNTS: Final = {"3.11": 9_978, "3.13": 8_977}
"""Instructions of the gateway's own code for one life, from submission to SUCCEEDED."""

TOLERANCE: Final = 0.03
"""How many changes share a commit is up to the machine."""


class Counting:
    """Counts the instructions that are carried out in the gateway's own files, in all threads."""

    def __init__(self) -> None:
        self.by_file: Counter[str] = Counter()

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """See :func:`sys.settrace`."""
        file = frame.f_code.co_filename
        if not file.startswith(SERVER):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            self.by_file[file] += 1
        return self.trace


async def _live(parts: core.Core, number: int) -> None:
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key=f"count-{number}")
    request.dji.camera_recording_start.payload_index = "39-0-7"
    accepted = await parts.commands.submit(LOCAL, request)
    await parts.reply(accepted.command.id, {"result": 0})
    watch = pb.WatchCommandRequest(command_id=accepted.command.id)
    async for _ in parts.commands.watch(LOCAL, watch):
        pass


async def test_a_life_takes_no_more_instructions_than_it_did(tmp_path: Path) -> None:
    """And no fewer: then write the new number down, so that it stays so."""
    expected = COUNTS.get(".".join(map(str, sys.version_info[:2])))
    if expected is None:
        pytest.skip("each version of Python has instructions of its own")
    counting = Counting()
    before = sys.gettrace(), threading.gettrace()
    threading.settrace(counting.trace)
    try:
        bridge = ScriptedBridge(acknowledge_at_once=True)
        async with core.running(tmp_path / "d.db", bridge) as parts:
            for number in range(WARM_UP):
                await _live(parts, number)
            counting.by_file.clear()
            sys.settrace(counting.trace)
            for number in range(LIVES):
                await _live(parts, WARM_UP + number)
            sys.settrace(before[0])
            await asyncio.sleep(0)
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])
    counted = counting.by_file.total() / LIVES
    files = counting.by_file.most_common(12)
    most = "\n".join(f"  {count / LIVES:8,.0f} {Path(file).name}" for file, count in files)
    assert counted == pytest.approx(expected, rel=TOLERANCE), f"{counted:,.0f} in all:\n{most}"
