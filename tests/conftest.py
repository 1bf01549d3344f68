"""Fixtures for every test: the brokers there are, and which ones ran."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
from structlog.testing import capture_logs
from support import brokers
from support.brokers import RunningBroker
from support.gateway import quick_dock
from support.log import Log
from support.secured import Secured, secured

from dockgate_server import simulate

# How long an example takes depends on what else the machine is doing.
# A failure is shown as it was found. Looking for a smaller one can take minutes, in which the time
# limit of the test counts as another failure to look into.
hypothesis.settings.register_profile(
    "dockgate",
    deadline=None,
    stateful_step_count=20,
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate),
)
# For `make machines`, which looks further, and for a smaller failure as well.
hypothesis.settings.register_profile(
    "large",
    deadline=None,
    max_examples=2_000,
    stateful_step_count=60,
    phases=(*hypothesis.settings.get_profile("dockgate").phases, hypothesis.Phase.shrink),
)
hypothesis.settings.load_profile("dockgate")


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment of whoever runs the tests must not change them."""
    for name in [name for name in os.environ if name.startswith("DOCKGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged from here on."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture(params=brokers.NAMES)
def broker(request: pytest.FixtureRequest) -> Iterator[RunningBroker]:
    """Each of the brokers in turn; one that is not installed is skipped by name."""
    _need(request.param)
    with brokers.running(request.param) as started:
        yield started


@pytest.fixture
def mosquitto() -> Iterator[RunningBroker]:
    """Mosquitto alone, for what only MQTT 5 can show."""
    _need("mosquitto")
    with brokers.running("mosquitto") as started:
        yield started


@pytest.fixture
async def dock(mosquitto: RunningBroker) -> AsyncIterator[simulate.SimulatedDock]:
    """dock-001 with drone-001 on mosquitto, answering at once."""
    async with simulate.SimulatedDock(quick_dock(mosquitto)) as dock:
        yield dock


@pytest.fixture
async def tls(tmp_path: Path) -> AsyncIterator[Secured]:
    """A gRPC server with TLS, which knows its callers by API keys."""
    async with secured(tmp_path) as server:
        yield server


@pytest.fixture
async def mutual(tmp_path: Path) -> AsyncIterator[Secured]:
    """One that asks for certificates as well."""
    async with secured(tmp_path, mutual=True) as server:
        yield server


def _need(name: str) -> None:
    if brokers.binary(name) is None:
        pytest.skip(f"{name} is not installed")


def pytest_report_header() -> list[str]:
    """Say which brokers the tests will run against."""
    return [
        f"broker {name}: {brokers.binary(name) or 'not installed, its tests are skipped'}"
        for name in brokers.NAMES
    ]
