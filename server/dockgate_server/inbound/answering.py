"""Telling a device that its message has arrived; it repeats what is not answered."""

from typing import Protocol

from dockgate_server.bridge.interface import Bridge
from dockgate_server.clock import Clock
from dockgate_server.codec import envelope

_OK = b'{"result":0}'


class Answerable(Protocol):
    """What of a message its answer repeats."""

    @property
    def tid(self) -> str:
        """Its `tid`."""

    @property
    def bid(self) -> str:
        """Its `bid`."""

    @property
    def method(self) -> str | None:
        """Its `method`."""


def answer(bridge: Bridge, clock: Clock, topic: str, content: Answerable) -> None:
    """Answer a message with result 0."""
    payload = envelope.write(
        tid=content.tid,
        bid=content.bid,
        method=content.method or "",
        data=_OK,
        timestamp=clock.now_ms(),
    )
    bridge.answer(topic, payload)
