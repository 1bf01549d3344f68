"""Who handles which kind of message."""

from dockgate_server.bridge.interface import Bridge, Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec.envelope import Envelope
from dockgate_server.codec.topics import Up
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.dispatcher.outstanding import Outstanding
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.inbound.events import Events
from dockgate_server.inbound.replies import Replies
from dockgate_server.inbound.requests import Requests
from dockgate_server.inbound.room import Room
from dockgate_server.inbound.router import InboundRouter
from dockgate_server.inbound.status import Status
from dockgate_server.inbound.telemetry import Telemetry
from dockgate_server.model.command import Channel


def router(
    bridge: Bridge,
    registry: Registry,
    presence: PresenceBook,
    recorder: Recorder,
    clock: Clock,
    events: Events,
    outstanding: Outstanding,
    *,
    requests: Requests | None = None,
    states: StateBoard | None = None,
    raw_methods: bool = False,
) -> InboundRouter:
    """The router with every handler there is."""
    room = Room("replies")

    def replies(channel: Channel) -> Replies:
        return Replies(channel, recorder, clock, outstanding, room, raw_methods=raw_methods)

    states = states or StateBoard()
    status = Status(bridge, registry, clock)
    handlers = {
        Up.SERVICES_REPLY: replies(Channel.SERVICES).handle,
        Up.SET_REPLY: replies(Channel.PROPERTY_SET).handle,
        Up.DRC_UP: replies(Channel.DRC).handle,
        Up.EVENTS: events.handle,
        Up.REQUESTS: requests.handle if requests is not None else _unserved,
        Up.STATUS: status.handle,
        Up.OSD: Telemetry(states.regular, registry, clock).handle,
        Up.STATE: Telemetry(states.on_change, registry, clock).handle,
    }
    waiting = (events.connection_changed, status.connection_changed)
    return InboundRouter(handlers, presence, clock, waiting)


def _unserved(gateway_id: str, content: Envelope | None, message: Inbound) -> None:
    """What nobody handles is not to come again."""
    message.acknowledge()
