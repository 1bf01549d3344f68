"""Fixtures of the dispatcher's tests."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support.rig import URGENT, Rig, Start, starting

from dockgate.dji.v1 import options_pb2
from dockgate_server.codec import catalogue


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a gateway's inside on the test's database, as often as wanted, one at a time."""
    return partial(starting, tmp_path / "dockgate.db")


@pytest.fixture
async def rig(start: Start) -> AsyncIterator[Rig]:
    """One that runs, connected to a broker that says nothing by itself."""
    async with start() as rig:
        yield rig


@pytest.fixture
def urgent_method(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method that overtakes."""
    method = catalogue.METHODS[URGENT]
    spec = options_pb2.MethodSpec()
    spec.CopyFrom(method.spec)
    spec.overtakes = True
    monkeypatch.setitem(catalogue.METHODS, URGENT, replace(method, spec=spec))  # type: ignore[arg-type]
    return URGENT
