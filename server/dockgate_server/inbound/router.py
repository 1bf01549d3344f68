"""Takes every message of a device to whoever handles its kind.

A message is acknowledged to the broker only when what it caused is committed, so a crash in
between brings it again. Whatever a device sends, nothing here raises.
"""

from collections.abc import Callable, Mapping, Sequence

import structlog

from dockgate_server.bridge.interface import Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec import envelope, topics
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.lines import MOST_FROM_DEVICES, Lines

_log = structlog.get_logger(__name__)

Handler = Callable[[str, envelope.Envelope | None, Inbound], None]
"""Handles a message: the gateway device's serial number, the content (None when it is not
readable), and the message itself, which is to be acknowledged."""


class InboundRouter:
    """Takes messages by their topic to their handlers.

    Args:
        handlers: By the kind of the topic.
        presence: Is told of every sign of life, and of last wills.
        clock: The time.
        waiting: Are called when a connection has begun: who has answers that could not be sent.
    """

    def __init__(
        self,
        handlers: Mapping[topics.Up, Handler],
        presence: PresenceBook,
        clock: Clock,
        waiting: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._handlers = handlers
        self._presence = presence
        self._waiting = waiting
        self._unexpected = Lines(MOST_FROM_DEVICES, clock)

    def connection_changed(self) -> None:
        """Let those go on who could not send: just behind a new connection's begin, or its end."""
        for go_on in self._waiting:
            go_on()

    def receive(self, message: Inbound) -> None:
        """Handle one message; it is acknowledged when its effect is committed."""
        where = topics.parse(message.topic)
        if where is None:
            self._unexpected.write(_log.warning, "unexpected_topic", topic=message.topic)
            message.acknowledge()
            return
        kind, sender = where
        content = envelope.read(message.payload)
        if kind is topics.Up.STATUS and content is not None and content.is_last_will:
            self._presence.left(sender)
            message.acknowledge()
            return
        self._presence.heard(sender)
        self._handlers[kind](sender, content, message)
