"""What devices report of their state, all the time."""

from collections.abc import Callable, Mapping
from typing import Any

from dockgate_server.bridge.interface import Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec import envelope, redaction
from dockgate_server.devices.registry import Registry

Board = Callable[[str, Mapping[str, Any], int], None]
"""Takes serial number, what was reported, and when."""


class Telemetry:
    """Hands the state of known devices to the board.

    Args:
        put: The board's side for this topic.
        registry: Knows which devices there are, and wakes who watches them.
        clock: The time: those of devices are wrong.
    """

    def __init__(self, put: Board, registry: Registry, clock: Clock) -> None:
        self._put = put
        self._registry = registry
        self._clock = clock

    def handle(
        self, serial_number: str, content: envelope.Envelope | None, message: Inbound
    ) -> None:
        """See :data:`~dockgate_server.inbound.router.Handler`; here the sender is any device."""
        known = self._registry.knows(serial_number)
        if content is not None and isinstance(content.data, dict) and known:
            data = redaction.without_secrets(content.data)
            self._put(serial_number, data, self._clock.now_ms())
            self._registry.feed.state_changed(serial_number)
        message.acknowledge()
