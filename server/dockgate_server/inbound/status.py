"""The topology that gateway devices announce."""

import asyncio

import structlog

from dockgate_server.bridge.interface import Bridge, Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec import envelope, topics
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.topology import read_topology
from dockgate_server.inbound.answering import answer
from dockgate_server.lines import MOST_FROM_DEVICES, Lines

_log = structlog.get_logger(__name__)


class Status:
    """Learns topologies and answers them.

    Args:
        bridge: The way back.
        registry: Learns.
        clock: The time.
    """

    def __init__(self, bridge: Bridge, registry: Registry, clock: Clock) -> None:
        self._bridge = bridge
        self._registry = registry
        self._clock = clock
        self._of_no_use = Lines(MOST_FROM_DEVICES, clock)
        self._unanswered: dict[str, envelope.Envelope] = {}
        """What came while nothing could be sent: the latest of each gateway device."""

    def handle(self, gateway_id: str, content: envelope.Envelope | None, message: Inbound) -> None:
        """See :data:`~dockgate_server.inbound.router.Handler`."""
        topology = None
        if content is None:
            self._of_no_use.write(_log.warning, "unreadable_message", topic=message.topic)
        elif content.method != "update_topo":
            method = (content.method or "")[: envelope.LONGEST_NAME]
            about = {"gateway": gateway_id, "method": method}
            self._of_no_use.write(_log.info, "unknown_status_method", **about)
        else:
            now = self._clock.now_ms()
            topology = read_topology(gateway_id, content.data, now)
            if topology is None:
                self._of_no_use.write(_log.warning, "unreadable_topology", gateway=gateway_id)
        if content is None or topology is None:
            message.acknowledge()
            return

        def done(learnt: "asyncio.Future[None]") -> None:
            if learnt.cancelled():
                return
            # Also when the store could not take it: the dock says what is not answered again, and
            # messages that are never acknowledged would use up what the broker lets us have open.
            message.acknowledge()
            if learnt.exception() is None and content.tid:
                self._answer(gateway_id, content)

        self._registry.learn(topology).add_done_callback(done)

    def connection_changed(self) -> None:
        """Answer what came before anything could be sent: just behind a new connection's begin."""
        unanswered, self._unanswered = self._unanswered, {}
        for gateway_id, content in unanswered.items():
            self._answer(gateway_id, content)

    def _answer(self, gateway_id: str, content: envelope.Envelope) -> None:
        if self._bridge.connected:
            self._unanswered.pop(gateway_id, None)
            answer(self._bridge, self._clock, topics.status_reply(gateway_id), content)
        else:
            self._unanswered[gateway_id] = content
