"""What the health service says while broker and disk come and go, with real parts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from support import gateway, health
from support.brokers import RunningBroker
from support.gateway import Gateway, recording_start
from support.health import NOT_SERVING, SERVING, next_of

from dockgate_server.rpc.health import DISPATCH, SERVICE

pytestmark = pytest.mark.broker

KNOWN: dict[str, Any] = {
    "stop_seconds": 30,
    "devices": ({"id": "drone-001", "gateway": "dock-001"},),
}

HALF_A_REQUEST = (
    b"POST /api/v1/open/downlink/commands HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
)


@dataclass
class Serving:
    """A gateway that can be told to stop."""

    gateway: Gateway
    stop: asyncio.Event
    task: "asyncio.Task[None]"


@pytest.fixture
async def serving(mosquitto: RunningBroker, tmp_path: Path) -> AsyncIterator[Serving]:
    """A gateway whose broker is not there yet."""
    mosquitto.stop()
    stop = asyncio.Event()
    started: asyncio.Queue[Gateway] = asyncio.Queue()

    async def run() -> None:
        async with gateway.running(mosquitto.url, tmp_path, **KNOWN) as running:
            started.put_nowait(running)
            await stop.wait()

    task = asyncio.create_task(run(), name="gateway")
    yield Serving(await started.get(), stop, task)
    stop.set()
    await task


async def test_dispatch_follows_broker_and_disk_while_calls_are_served(
    mosquitto: RunningBroker, serving: Serving
) -> None:
    """From a broker that is away at the start to the stop, which no watch holds up."""
    running = serving.gateway
    async with grpc.aio.insecure_channel(running.app.grpc_address) as channel:
        watches = [health.watch(channel, name) for name in (DISPATCH, "", SERVICE)]
        dispatch = watches[0]
        assert [await next_of(one) for one in watches] == [NOT_SERVING, SERVING, SERVING]
        await running.stub.SubmitCommand(recording_start("taken all the same"))

        for _ in range(2):
            mosquitto.start()
            assert await next_of(dispatch) == SERVING
            mosquitto.stop()
            assert await next_of(dispatch) == NOT_SERVING
        mosquitto.start()
        assert await next_of(dispatch) == SERVING

        await running.set_writable(False)
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.SubmitCommand(recording_start("refused"))
        assert await next_of(dispatch) == NOT_SERVING
        await running.set_writable(True)
        assert await next_of(dispatch) == SERVING

        # Told before the stop waits for a call that is being answered.
        _, unfinished = await asyncio.open_connection(*str(running.app.http_address).split(":"))
        unfinished.write(HALF_A_REQUEST)
        await unfinished.drain()
        assert await health.status(channel, "") == SERVING
        serving.stop.set()
        # The first thing that the other two have to say since.
        assert [await next_of(one) for one in watches] == [NOT_SERVING] * 3
        assert not serving.task.done()
        unfinished.close()
        async with asyncio.timeout(10):
            await serving.task
