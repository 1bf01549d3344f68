"""The gateway's bridge over a simulated connection; behaves as ``bridge/mqtt.py`` does."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from dockgate_server.bridge.interface import (
    Acknowledgement,
    ConnectionLost,
    Inbound,
    NotConnected,
)
from simulation.broker import Broker, Session
from simulation.loop import VirtualLoop
from simulation.wire import Link, Message
from simulation.world import World


class Observer(Protocol):
    """Who sees to it that what passes here is right."""

    def publishing(self, message: Message, expiry_seconds: int) -> None:
        """The gateway hands a command to the network."""

    def acknowledging(self, message: Message) -> None:
        """The gateway tells the broker to forget what a device said."""

    def answering(self, message: Message) -> None:
        """The gateway tells a device that it has understood."""


class SimulatedBridge:
    """One process's connection to the broker, and the next one when it breaks.

    Args:
        world: Time and chance.
        loop: The process's loop.
        broker: Where to connect.
        observer: Sees every publish and every acknowledgement.
        on_message: Takes each inbound message.
        on_connection: Is told when messages can be published, and when not.
        kill: Kills the process in the middle of what it does.
    """

    def __init__(
        self,
        world: World,
        loop: VirtualLoop,
        broker: Broker,
        observer: Observer,
        on_message: Callable[[Inbound], None],
        on_connection: Callable[[bool], None],
        kill: Callable[[], None],
    ) -> None:
        self._world = world
        self._loop = loop
        self._broker = broker
        self._session: Session = broker.sessions["gateway"]
        self._observer = observer
        self._on_message = on_message
        self._on_connection = on_connection
        self._kill = kill
        self._link: Link | None = None
        self._pending: dict[int, asyncio.Future[Acknowledgement]] = {}
        self._packet_ids = 0
        self._breaking = False
        self._failures = 0
        self.name = "gateway"
        self.connected = False
        self.session_kept = False
        self.expires_messages = True

    # What the dispatcher and the router see.

    @property
    def receive_maximum(self) -> int:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        if not self.connected or self._link is None:
            return 0
        # As the real bridge: one place is kept for replies to requests.
        return self._link.receive_maximum - 1

    def publish(
        self, topic: str, payload: bytes, expiry_seconds: int
    ) -> "asyncio.Future[Acknowledgement]":
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        world = self._world
        link = self._usable_link()
        acknowledgement = self._loop.create_future()
        if world.strikes("killed before a publish", 0.0003):
            self._kill()
        if not self._loop.alive:
            return acknowledgement
        message = self._message(topic, payload, expiry_seconds)
        self._observer.publishing(message, expiry_seconds)
        if world.strikes("broke while writing", 0.001):
            # It may have left, and the connection will be noticed to be gone.
            if world.random() < 0.5:
                link.up.send(self._broker.take, message, link)
            else:
                message.gone = True
            link.break_()
            acknowledgement.set_exception(ConnectionLost("broken pipe"))
            return acknowledgement
        self._packet_ids += 1
        self._pending[self._packet_ids] = acknowledgement
        link.unacknowledged += 1
        if link.unacknowledged > self.receive_maximum:
            world.violate("more commands are unacknowledged than the broker allows")
        link.up.send(self._take, message, link, self._packet_ids)
        if world.strikes("killed after a publish", 0.0005):
            self._kill()
        return acknowledgement

    def stream(self, topic: str, payload: bytes, expiry_seconds: int) -> None:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        link = self._usable_link()
        if not self._loop.alive:
            return
        message = self._message(topic, payload, expiry_seconds)
        message.qos = 0
        self._observer.publishing(message, expiry_seconds)
        if self._world.strikes("broke while streaming", 0.01):
            message.gone = True
            link.break_()
            raise ConnectionLost("broken pipe")
        link.up.send(self._broker.take, message, link)

    def answer(self, topic: str, payload: bytes) -> None:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        if self.connected and self._loop.alive and self._link is not None:
            message = Message(topic, payload, "gateway", qos=0)
            self._observer.answering(message)
            self._link.up.send(self._broker.answer, message)

    # The connection.

    def start(self) -> None:
        """Keep a connection open from now on."""
        self._world.after(self._world.between(0.001, 0.05), self._connect)

    def stop(self) -> None:
        """Leave, politely or because the process is dead."""
        if self._link is not None:
            self._link.break_()

    def receive(self, link: Link, packet_id: int, message: Message) -> None:
        """A message arrives on the socket."""
        if self._loop.alive and link is self._link:
            self._loop.call_soon(self._received, link, packet_id, message)

    def _connect(self) -> None:
        if not self._loop.alive:
            return
        world = self._world
        if not self._broker.up or world.strikes("connect failed", 0.1):
            self._failures += 1
            world.after(min(0.2 * 2**self._failures, 3.0) * world.between(0.5, 1), self._connect)
            return
        self._failures = 0
        kept = self._session.subscribed
        link = self._broker.connect(self._session, self._lost)
        self._link = link
        link.is_v5 = not world.strikes("broker speaks MQTT 3.1.1", 0.02)
        link.receive_maximum = world.rng.choice((2, 4, 8, 20, 65_535, 65_535))
        # CONNACK and SUBACK take their time; what waits for us comes before them.
        world.after(world.between(0.001, 0.02), self._subscribed, link, kept)
        if world.strikes("connection broke", 0.7):
            world.after(world.rng.expovariate(1 / 6.0), self._break, link)

    def calm_down(self) -> None:
        """Faults are over: the broker is one that can expire messages."""
        if self._link is not None and not self._link.is_v5:
            self._link.break_()

    def _break(self, link: Link) -> None:
        if not self._world.calm:
            link.break_()

    def _subscribed(self, link: Link, kept: bool) -> None:
        if not link.broken:
            self._session.subscribe(link)
            if self._loop.alive and link is self._link:
                self._loop.call_soon(self._ready, link, kept)

    def _ready(self, link: Link, kept: bool) -> None:
        if link is self._link and not self._breaking:
            self.session_kept = kept
            self.expires_messages = link.is_v5
            self.connected = True
            self._world.note("bridge", "connected")
            self._on_connection(True)

    def _lost(self, link: Link) -> None:
        """The socket has ended: for a moment publishing fails while it still seems open."""
        if self._loop.alive and link is self._link:
            self._breaking = True
            self._world.after(0.03 * self._world.random(), self._end)

    def _end(self) -> None:
        if self._loop.alive:
            self._loop.call_soon(self._ended)

    def _ended(self) -> None:
        self._world.note("bridge", "disconnected")
        pending, self._pending = self._pending, {}
        for acknowledgement in pending.values():
            if not acknowledgement.done():
                acknowledgement.set_exception(ConnectionLost("the connection ended"))
        self._link = None
        self._breaking = False
        if self.connected:
            self.connected = False
            self._on_connection(False)
        self._world.after(self._world.between(0.1, 0.5), self._connect)

    def _usable_link(self) -> Link:
        if not self.connected or self._breaking or self._link is None:
            raise NotConnected
        return self._link

    # Messages.

    def _message(self, topic: str, payload: bytes, expiry_seconds: int) -> Message:
        now = self._world.now
        expires_at = now + expiry_seconds if self.expires_messages else None
        message = Message(topic, payload, "gateway", expires_at=expires_at)
        message.network_seconds = now
        return message

    def _take(self, message: Message, link: Link, packet_id: int) -> None:
        """The message is at the broker, which answers when it likes."""
        acknowledgement = self._broker.take(message, link)
        world = self._world
        if world.strikes("PUBACK never", 0.001):
            world.after(world.between(1, 8), link.break_)
            return
        seconds = world.between(0.05, 4.0) if world.strikes("PUBACK late", 0.02) else 0.0
        world.after(seconds, link.down.send, self._answered, link, packet_id, acknowledgement)

    def _answered(self, link: Link, packet_id: int, acknowledgement: Acknowledgement) -> None:
        link.unacknowledged -= 1
        if self._loop.alive and link is self._link:
            self._loop.call_soon(self._acknowledged, packet_id, acknowledgement)

    def _acknowledged(self, packet_id: int, acknowledgement: Acknowledgement) -> None:
        pending = self._pending.pop(packet_id, None)
        if pending is not None and not pending.done():
            pending.set_result(acknowledgement)

    def _received(self, link: Link, packet_id: int, message: Message) -> None:
        if link is not self._link:
            return

        def acknowledge() -> Any:
            if not self._loop.alive:
                return
            self._observer.acknowledging(message)
            if self._world.strikes("killed before an acknowledgement", 0.0003):
                self._kill()
            elif packet_id:
                link.up.send(self._session.acknowledge, link, packet_id)

        self._on_message(Inbound(message.topic, message.payload, acknowledge))
