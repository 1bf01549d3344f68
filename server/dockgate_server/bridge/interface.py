"""What the gateway asks of its connection to the broker.

The dispatcher is written against this; a test may put a scripted bridge in its place.
"""

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class NotConnected(Exception):
    """There is no connection; the message has certainly not left."""


class ConnectionLost(Exception):
    """The connection broke before the broker acknowledged; the message may have left."""


class Verdict(enum.Enum):
    """What the broker said to a message."""

    TAKEN = enum.auto()
    """It will be delivered to whoever is subscribed."""
    NOBODY_LISTENS = enum.auto()
    """Nobody is subscribed (MQTT 5 only), so it is not delivered and not kept."""
    REFUSED = enum.auto()
    """The broker will not take it, e.g. "Not authorized"."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The broker's PUBACK."""

    verdict: Verdict
    reason: str
    """The reason code in the broker's words."""


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Inbound:
    """A message from a device; nobody changes it."""

    topic: str
    payload: bytes
    acknowledge: Callable[[], None]
    """Tell the broker that it may forget the message: to be called when what the message
    caused has been committed. One that is never acknowledged comes again."""
    comes_again: bool = True
    """Whether the broker keeps it until then (QoS 1). It lets us have only so many of these open
    at once; of others (QoS 0) it hands on whatever comes, once."""


class Bridge(Protocol):
    """The connection to the broker."""

    @property
    def connected(self) -> bool:
        """Whether messages can be published now."""

    @property
    def expires_messages(self) -> bool:
        """Whether the broker drops messages that nobody has fetched in time (MQTT 5)."""

    @property
    def receive_maximum(self) -> int:
        """How many messages the broker lets wait for its acknowledgement."""

    def publish(
        self, topic: str, payload: bytes, expiry_seconds: int
    ) -> asyncio.Future[Acknowledgement]:
        """Hand a message to the network, QoS 1, never retained.

        The future fails with :class:`ConnectionLost` when no acknowledgement will come.

        Raises:
            NotConnected: There is no connection; nothing was sent and nothing will be.
        """

    def stream(self, topic: str, payload: bytes, expiry_seconds: int) -> None:
        """Hand a message to the network, QoS 0: nobody will say what became of it.

        Raises:
            NotConnected: There is no connection, or the broker does not keep up; nothing was sent.
            ConnectionLost: The connection broke, or stood still, while it was being sent.
        """

    def answer(self, topic: str, payload: bytes) -> None:
        """Tell a device that its message has arrived, QoS 0.

        It may get lost, also for want of a connection: a device repeats what is not answered.
        """
