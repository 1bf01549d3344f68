"""The open API, running."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.open_api import OpenApiUnderTest, serving


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[OpenApiUnderTest]:
    async with serving(tmp_path) as started:
        yield started
