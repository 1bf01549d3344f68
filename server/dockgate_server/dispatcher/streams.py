"""Control streams: stick-like messages that are outdated after a second.

They are sent at once or not at all: never queued, in no window, QoS 0. Nobody will say what became
of them, so their end rests on the sending alone.
"""

from dockgate_server.bridge.interface import Bridge, ConnectionLost, NotConnected
from dockgate_server.clock import Clock
from dockgate_server.codec import channels
from dockgate_server.dispatcher import decisions
from dockgate_server.dispatcher.aboard import Aboard
from dockgate_server.dispatcher.backlog import Waiting
from dockgate_server.dispatcher.decisions import Decisions
from dockgate_server.model.command import Command, FailureCode

EXPIRY_SECONDS = 1
"""After this a message of a control stream is outdated."""


class ControlStreams:
    """Sends messages of control streams, or refuses them."""

    def __init__(
        self,
        bridge: Bridge,
        decisions: Decisions,
        aboard: Aboard,
        clock: Clock,
        *,
        send_without_expiry: bool,
    ) -> None:
        self._bridge = bridge
        self._decisions = decisions
        self._aboard = aboard
        self._clock = clock
        self._send_without_expiry = send_without_expiry

    def take(self, one: Waiting, seconds_left: float) -> None:
        """A message has been accepted, and has so long until its deadline."""
        age = one.command.timeout_seconds - seconds_left
        if reason := self._aboard.missing(one.command):
            self._decisions.refuse(one.command, FailureCode.DEVICE_OFFLINE, reason)
        elif not one.intended:
            self.refuse(one.command)
        elif age >= EXPIRY_SECONDS:
            self._decisions.take_back(one, decisions.LATE)  # accepting it has taken too long
        else:
            self._send(one.command)

    def refuse(self, command: Command) -> None:
        """End a command that cannot be sent now."""
        if self._send_without_expiry or self._bridge.expires_messages:
            code = FailureCode.NOT_CONNECTED
            reason = (
                "there is no connection to the broker, or the broker does not keep up, "
                "and a control stream is never queued"
            )
        else:
            code = FailureCode.EXPIRY_UNSUPPORTED
            reason = "the broker cannot expire messages (MQTT 3.1.1), and this one must not be late"
        self._decisions.refuse(command, code, reason)

    def _send(self, command: Command) -> None:
        """Hand the message to the network, which ends the command one way or the other."""
        topic, payload = channels.compose(command, self._clock.now_ms())
        try:
            self._bridge.stream(topic, payload, EXPIRY_SECONDS)
        except (NotConnected, ConnectionLost):
            self.refuse(command)
        else:
            self._decisions.sent(command)
