"""The use cases over a real store; the test plays the broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.core import Core, running


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture
async def core(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Core]:
    """drone-001 on dock-001, connected to a broker that says nothing by itself."""
    async with running(tmp_path / "dockgate.db", ScriptedBridge(), clock) as core:
        yield core
