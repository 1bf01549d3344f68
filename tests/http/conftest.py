"""The open API, running."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import loops
from support.loops import Loops
from support.open_api import OpenApiUnderTest, serving


def pytest_asyncio_loop_factories() -> Loops:
    """What has to do with sockets is tried on both."""
    return loops.BOTH


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OpenApiUnderTest]:
    async with serving(tmp_path) as started:
        yield started
