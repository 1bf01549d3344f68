"""A bridge on a real broker, and a plain client that plays the dock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiomqtt

from dockgate_server.bridge.interface import Inbound, Verdict
from dockgate_server.bridge.mqtt import Broker, MqttBridge
from dockgate_server.codec import topics
from support.brokers import RunningBroker
from support.proxy import Proxy


@dataclass
class Observed:
    """A bridge and what it has told."""

    bridge: MqttBridge
    inbound: "asyncio.Queue[Inbound]" = field(default_factory=asyncio.Queue)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    down: asyncio.Event = field(default_factory=asyncio.Event)
    problems: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)

    async def problem(self) -> str:
        """Why the next attempt, or the connection, fails."""
        async with asyncio.timeout(20):
            return await self.problems.get()

    async def works(self) -> bool:
        """Whether a message is acknowledged."""
        sent = self.bridge.publish(topics.services("dock-001"), b"{}", expiry_seconds=5)
        return (await sent).verdict in (Verdict.TAKEN, Verdict.NOBODY_LISTENS)

    async def receive(self) -> Inbound:
        """The next message from a device."""
        async with asyncio.timeout(10):
            return await self.inbound.get()

    async def wait_up(self) -> None:
        """Wait for a connection."""
        async with asyncio.timeout(20):
            await self.up.wait()

    async def wait_down(self) -> None:
        """Wait for a connection's end."""
        async with asyncio.timeout(20):
            await self.down.wait()


@asynccontextmanager
async def running_bridge(
    on: RunningBroker | Proxy, client_id: str = "dockgate", **broker: Any
) -> AsyncIterator[Observed]:
    """A bridge that keeps itself connected to the broker."""

    def changed(connected: bool) -> None:
        (observed.up if connected else observed.down).set()
        (observed.down if connected else observed.up).clear()

    bridge = MqttBridge(
        Broker(**{"host": "127.0.0.1", "port": on.port, "client_id": client_id, **broker}),
        [up.value for up in topics.Up],
        # Looked up for each message, as a test puts something else in its place.
        lambda message: observed.inbound.put_nowait(message),  # noqa: PLW0108
        changed,
    )
    observed = Observed(bridge)
    failed = bridge._steadiness.failed

    def noted(problem: str, **more: Any) -> float:
        observed.problems.put_nowait(problem)
        return failed(problem, **more)

    bridge._steadiness.failed = noted  # type: ignore[method-assign]
    task = asyncio.create_task(bridge.run(), name="bridge")
    try:
        yield observed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def dock(on: RunningBroker, listens: bool = True) -> AsyncIterator[aiomqtt.Client]:
    """A client that takes the commands for dock-001, if it listens."""
    version = aiomqtt.ProtocolVersion.V5 if on.speaks_v5 else aiomqtt.ProtocolVersion.V311
    async with aiomqtt.Client("127.0.0.1", on.port, protocol=version) as client:
        if listens:
            await client.subscribe(topics.services("dock-001"), qos=1)
        yield client
