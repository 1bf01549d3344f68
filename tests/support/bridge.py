"""A bridge whose broker the test plays, message by message."""

import asyncio
from dataclasses import dataclass, field

import orjson

from dockgate_server.bridge.interface import (
    Acknowledgement,
    ConnectionLost,
    NotConnected,
    Verdict,
)

TAKEN = Acknowledgement(Verdict.TAKEN, "Success")
NOBODY = Acknowledgement(Verdict.NOBODY_LISTENS, "No matching subscribers")


@dataclass
class Published:
    """A message that was handed to the network, waiting for the test's acknowledgement."""

    topic: str
    payload: bytes
    expiry_seconds: int
    acknowledgement: asyncio.Future[Acknowledgement]

    @property
    def content(self) -> dict[str, object]:
        """The parsed message."""
        content: dict[str, object] = orjson.loads(self.payload)
        return content

    @property
    def tid(self) -> str:
        """Which command it carries."""
        return str(self.content["tid"])

    def acknowledge(self, with_: Acknowledgement = TAKEN) -> None:
        """Send the PUBACK."""
        self.acknowledgement.set_result(with_)

    def lose(self) -> None:
        """Break the connection before the PUBACK."""
        self.acknowledgement.set_exception(ConnectionLost("the connection ended"))


@dataclass
class ScriptedBridge:
    """Keeps what is published; acknowledges at once only when told to."""

    connected: bool = True
    expires_messages: bool = True
    receive_maximum: int = 65_535
    acknowledge_at_once: bool = False
    published: list[Published] = field(default_factory=list)
    answers: list[tuple[str, bytes]] = field(default_factory=list)
    streamed: list[tuple[str, bytes]] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(
        self, topic: str, payload: bytes, expiry_seconds: int
    ) -> asyncio.Future[Acknowledgement]:
        """Take a message."""
        if not self.connected:
            raise NotConnected
        future: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()
        message = Published(topic, payload, expiry_seconds, future)
        if self.acknowledge_at_once:
            message.acknowledge()
        self.published.append(message)
        self._arrived.set()
        return future

    def stream(self, topic: str, payload: bytes, expiry_seconds: int) -> None:
        """Take a message that nobody acknowledges."""
        if not self.connected:
            raise NotConnected
        self.streamed.append((topic, payload))

    def answer(self, topic: str, payload: bytes) -> None:
        """Take an answer to a device's message."""
        self.answers.append((topic, payload))

    async def wait_published(self, count: int) -> list[Published]:
        """Wait until so many messages have been published."""
        async with asyncio.timeout(5):
            while len(self.published) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.published
