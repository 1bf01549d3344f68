"""An MQTT 5 broker: sessions that outlive connections, QoS 1, expiry, and its moods."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from dockgate_server.bridge.interface import Acknowledgement, Verdict
from simulation.wire import Link, Message
from simulation.world import World

_TAKEN = Acknowledgement(Verdict.TAKEN, "Success")
_NOBODY = Acknowledgement(Verdict.NOBODY_LISTENS, "No matching subscribers")
_REFUSED = Acknowledgement(Verdict.REFUSED, "Not authorized")


class Client(Protocol):
    """Who has a session."""

    name: str

    def receive(self, link: Link, packet_id: int, message: Message) -> None:
        """A message arrives; packet id 0 for QoS 0."""


class Session:
    """What the broker keeps of a client: its subscriptions and what it has not acknowledged."""

    def __init__(self, broker: "Broker", client: Client, *, kept: bool) -> None:
        self._broker = broker
        self._client = client
        self.kept = kept
        """It outlives the connection, and with it subscriptions and messages."""
        self.subscribed = False
        self.inbound_maximum = 20
        """How many messages the client lets wait for its acknowledgement."""
        self._link: Link | None = None
        self._queue: deque[Message] = deque()
        self._unacknowledged: dict[int, Message] = {}
        self._packet_ids = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._unacknowledged)

    def connect(self, link: Link) -> None:
        """The client is here; what it has not acknowledged comes again, then what waited."""
        self._link = link
        if not self.kept:
            self.forget()
        again, self._unacknowledged = self._unacknowledged, {}
        for message in again.values():
            self._broker.world.faults["message redelivered"] += 1
            self._hand_over(message)
        self._pump()

    def subscribe(self, link: Link) -> None:
        """The client's subscriptions are in force."""
        if self._link is link:
            self.subscribed = True

    def disconnect(self, link: Link) -> None:
        """A connection has ended; one that another has taken over from does not matter."""
        if self._link is link:
            self._link = None
            if not self.kept:
                self.forget()

    def forget(self) -> None:
        """Subscriptions and messages are gone."""
        self.subscribed = False
        for message in (*self._queue, *self._unacknowledged.values()):
            message.gone = not message.handed
        self._queue.clear()
        self._unacknowledged.clear()

    def put(self, message: Message) -> None:
        """Deliver a message now or when the client is there; QoS 0 now or not at all."""
        if message.qos:
            self._queue.append(message)
            self._pump()
        elif self._link is not None:
            message.handed = True
            self._link.down.send(self._client.receive, self._link, 0, message)
        else:
            message.gone = True

    def acknowledge(self, link: Link, packet_id: int) -> None:
        """The client has taken a message."""
        if self._link is link and self._unacknowledged.pop(packet_id, None) is not None:
            self._pump()

    def _pump(self) -> None:
        while self._queue and self._link and len(self._unacknowledged) < self.inbound_maximum:
            self._hand_over(self._queue.popleft())

    def _hand_over(self, message: Message) -> None:
        world = self._broker.world
        if message.expires_at is not None and message.expires_at <= world.now:
            world.faults["message expired"] += 1
            message.gone = not message.handed
            return
        if message.life is not None:
            self._broker.handing_over(message)
        message.handed = True
        self._packet_ids += 1
        self._unacknowledged[self._packet_ids] = message
        assert self._link is not None
        self._link.down.send(self._client.receive, self._link, self._packet_ids, message)


class Broker:
    """Takes messages and hands them to whoever listens.

    Args:
        world: Time and chance.
        handing_over: Is told of each command that begins its way to a dock.
    """

    def __init__(self, world: World, handing_over: Callable[[Message], None]) -> None:
        self.world = world
        self.handing_over = handing_over
        self.up = True
        self.sessions: dict[str, Session] = {}
        self._links: dict[Link, Session] = {}
        self._wills: dict[Link, Callable[[], Message]] = {}

    def add(self, client: Client, *, kept: bool) -> Session:
        """A client that may connect."""
        session = self.sessions[client.name] = Session(self, client, kept=kept)
        return session

    def connect(self, session: Session, client_lost: Callable[[Link], None]) -> Link:
        """Open a connection for a client; an older one of the same client ends first."""
        for link in [link for link, owner in self._links.items() if owner is session]:
            link.break_()
            self._lost(link)
        link = Link(self.world, client_lost, self._lost)
        self._links[link] = session
        session.connect(link)
        return link

    def take(self, message: Message, link: Link) -> Acknowledgement:
        """Take a command for a dock; what is answered to it."""
        world = self.world
        message.network_seconds = world.now - message.network_seconds
        if message.expires_at is not None:
            message.expires_at += message.network_seconds  # it counts from the arrival
        if message.qos and world.strikes("publish refused", 0.004):
            message.gone = True
            return _REFUSED
        session = self.sessions[message.topic.split("/", 3)[2]]
        if session.subscribed:
            session.put(message)
        else:
            message.gone = True
            world.faults["nobody listened"] += 1
            if link.is_v5:
                return _NOBODY
        if message.life is not None:
            message.life.taken = True
        return _TAKEN

    def take_from_dock(
        self, message: Message, link: Link, packet_id: int, taken: Callable[[int], None]
    ) -> None:
        """Take what a dock says, and tell it so."""
        self.sessions["gateway"].put(message)
        link.down.send(taken, packet_id)

    def set_will(self, link: Link, will: Callable[[], Message]) -> None:
        """What is published when the connection ends; a real client says so in CONNECT."""
        self._wills[link] = will

    def answer(self, message: Message) -> None:
        """Take what the gateway answers to a device."""
        self.sessions[message.topic.split("/", 3)[2]].put(message)

    def restart(self, seconds: float, *, with_memory: bool) -> None:
        """Be away for a while; without memory every session is lost."""
        self.up = False
        for link in list(self._links):
            link.break_()
        if not with_memory:
            for session in self.sessions.values():
                session.forget()
        self.world.after(seconds, self._come_back)

    def _come_back(self) -> None:
        self.up = True

    def _lost(self, link: Link) -> None:
        session = self._links.pop(link, None)
        if session is not None:
            session.disconnect(link)
        will = self._wills.pop(link, None)
        if will is not None and self.up:
            self.sessions["gateway"].put(will())
