"""Fixtures of the dispatcher's tests."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from support.rig import Rig, Start, starting


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a gateway's inside on the test's database, as often as wanted, one at a time."""
    return partial(starting, tmp_path / "dockgate.db")


@pytest.fixture
async def rig(start: Start) -> AsyncIterator[Rig]:
    """One that runs, connected to a broker that says nothing by itself."""
    async with start() as rig:
        yield rig
