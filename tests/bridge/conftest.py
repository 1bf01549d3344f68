"""Brokers with more configuration, or with something in between."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from support import brokers, loops, proxy
from support.brokers import RunningBroker, Start
from support.loops import Loops
from support.proxy import Proxy


def pytest_asyncio_loop_factories() -> Loops:
    """What has to do with sockets is tried on both."""
    return loops.BOTH


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts mosquitto with more configuration."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    with ExitStack() as running:
        yield lambda extra: running.enter_context(brokers.running("mosquitto", extra))


@pytest.fixture
async def between(mosquitto: RunningBroker) -> AsyncIterator[Proxy]:
    """A proxy before mosquitto."""
    async with proxy.before(f"127.0.0.1:{mosquitto.port}") as between:
        yield between
