"""A bridge on a real broker, and a plain client that plays the dock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiomqtt

from dockgate_server.bridge.interface import Inbound
from dockgate_server.bridge.mqtt import Broker, MqttBridge
from dockgate_server.codec import topics
from support.brokers import RunningBroker


@dataclass
class Observed:
    """A bridge and what it has told."""

    bridge: MqttBridge
    inbound: "asyncio.Queue[Inbound]" = field(default_factory=asyncio.Queue)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    down: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Inbound:
        """The next message from a device."""
        async with asyncio.timeout(10):
            return await self.inbound.get()

    async def wait_up(self) -> None:
        """Wait for a connection."""
        async with asyncio.timeout(20):
            await self.up.wait()


@asynccontextmanager
async def running_bridge(on: RunningBroker, client_id: str = "dockgate") -> AsyncIterator[Observed]:
    """A bridge that keeps itself connected to the broker."""

    def changed(connected: bool) -> None:
        (observed.up if connected else observed.down).set()
        (observed.down if connected else observed.up).clear()

    bridge = MqttBridge(
        Broker("127.0.0.1", on.port, client_id),
        [up.value for up in topics.Up],
        # Looked up for each message, as a test puts something else in its place.
        lambda message: observed.inbound.put_nowait(message),  # noqa: PLW0108
        changed,
    )
    observed = Observed(bridge)
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
