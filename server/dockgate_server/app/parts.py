"""What the gateway consists of, in groups; each is made from the groups before it.

- :class:`Shared`: what needs neither database nor broker;
- :class:`Record`: what is kept, on the disk;
- :class:`Sending`: commands on their way to devices;
- :class:`Receiving`: what devices say;
- :class:`UseCases`: what callers can ask for.

Nothing runs yet when all are made: see ``app/__init__.py`` for what is started when. What the
record and the bridge report goes to groups that are made after them, by way of :class:`Reports`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dockgate_server.access import unlocking
from dockgate_server.audit import Audit
from dockgate_server.bridge.interface import Inbound
from dockgate_server.bridge.mqtt import Broker, MqttBridge
from dockgate_server.clock import Clock, SystemClock
from dockgate_server.codec import topics
from dockgate_server.commands import Commands, Permissions
from dockgate_server.config import Settings
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.seeds import seeds
from dockgate_server.devices.state import StateBoard
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.dispatcher.jobs import Jobs
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.hub import Feed, Hub
from dockgate_server.inbound import wiring
from dockgate_server.inbound.events import Events
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbound.requests import Requests
from dockgate_server.inbound.router import InboundRouter
from dockgate_server.inbox import Inbox
from dockgate_server.limits import Limits
from dockgate_server.model.command import CommandEvent
from dockgate_server.model.event import DeviceEvent
from dockgate_server.providers.wiring import providers
from dockgate_server.rpc.health import Health
from dockgate_server.sealing import Vault
from dockgate_server.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Shared:
    """What needs neither database nor broker.

    Attributes:
        settings: The configuration.
        clock: The time.
        limits: How much of the gateway one caller may take.
        health: What the health service says.
        presence: Which devices are there.
        states: What devices last said of themselves.
        hub: The newest changes of commands, and who waits for more.
        told: The same of events of devices.
    """

    settings: Settings
    clock: Clock
    limits: Limits
    health: Health
    presence: PresenceBook
    states: StateBoard
    hub: Hub
    told: Feed[DeviceEvent]


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept: the database, open, what seals secrets in it, and the devices it knows."""

    store: SqliteStore
    vault: Vault
    audit: Audit
    registry: Registry


@dataclass(frozen=True, slots=True)
class Sending:
    """Commands on their way to devices, and what becomes of them there."""

    bridge: MqttBridge
    recorder: Recorder
    deadlines: Deadlines
    jobs: Jobs
    dispatcher: Dispatcher


@dataclass(frozen=True, slots=True)
class Receiving:
    """What devices say, and answers to what they ask."""

    replies: RequestReplies
    requests: Requests
    inbound: InboundRouter


@dataclass(frozen=True, slots=True)
class UseCases:
    """What callers can ask for, over whichever transport."""

    commands: Commands
    fleet: Fleet
    events: EventWatching
    inbox: Inbox


@dataclass(frozen=True, slots=True)
class Parts:
    """All groups."""

    shared: Shared
    record: Record
    sending: Sending
    receiving: Receiving
    use_cases: UseCases


class Reports:
    """Passes on what the record and the bridge report, to whom it concerns and in this order.

    They are made before those who have to hear of it, which are made from them. So they report to
    this, and :meth:`connect` closes the circle. Nothing is reported earlier: no command changes
    before the recovery, and the bridge does not run.
    """

    _record: Record
    _sending: Sending
    _receiving: Receiving

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def connect(self, record: Record, sending: Sending, receiving: Receiving) -> None:
        """Say who is to hear of it, beside what is shared."""
        self._record = record
        self._sending = sending
        self._receiving = receiving

    def committed(self, events: Sequence[CommandEvent]) -> None:
        """The store has committed these changes of commands."""
        self._sending.dispatcher.committed(events)
        self._sending.jobs.committed(events)
        self._shared.limits.open_commands.committed(events)
        self._shared.hub.publish(events)

    def received(self, message: Inbound) -> None:
        """The bridge has received a message."""
        self._receiving.inbound.receive(message)

    def connection_changed(self, connected: bool) -> None:
        """The bridge has connected to the broker, or lost it."""
        self._shared.health.connection_changed(connected)
        if connected and not self._sending.bridge.session_kept:
            self._shared.presence.forget()
            self._record.registry.forget_aircraft()
        self._sending.dispatcher.connection_changed()
        self._receiving.replies.connection_changed()
        self._receiving.inbound.connection_changed()


@asynccontextmanager
async def made(settings: Settings, broker: Broker) -> AsyncIterator[Parts]:
    """All parts, with the database open while the block runs.

    Raises:
        StoreProblem: The database cannot be opened.
        SealingProblem: Its sealing key is missing, or is another one.
        CannotMint: Credentials are to be minted, and boto3 is not installed.
    """
    shared = _shared(settings)
    reports = Reports(shared)
    async with _record(shared, reports) as record:
        sending = _sending(shared, record, broker, reports)
        receiving = _receiving(shared, record, sending)
        reports.connect(record, sending, receiving)
        use_cases = _use_cases(shared, record, sending, receiving)
        yield Parts(shared, record, sending, receiving, use_cases)


def _shared(settings: Settings) -> Shared:
    clock = SystemClock()
    return Shared(
        settings,
        clock,
        Limits(settings.limits, clock),
        Health(),
        PresenceBook(clock),
        StateBoard(),
        Hub(),
        Feed(),
    )


@asynccontextmanager
async def _record(shared: Shared, reports: Reports) -> AsyncIterator[Record]:
    settings = shared.settings.store
    async with SqliteStore(
        settings.path,
        reports.committed,
        on_writable=shared.health.store_changed,
        keep_events=settings.keep_events,
        clock=shared.clock,
    ) as store:
        vault = await unlocking.vault(store, settings.sealing_key)
        await store.secrets.clean(vault)
        registry = Registry(store.devices, shared.presence, *seeds(shared.settings))
        yield Record(store, vault, Audit(store.audit, shared.clock), registry)


def _sending(shared: Shared, record: Record, broker: Broker, reports: Reports) -> Sending:
    subscriptions = [up.value for up in topics.Up]
    bridge = MqttBridge(broker, subscriptions, reports.received, reports.connection_changed)
    recorder = Recorder(record.store, shared.clock)
    deadlines = Deadlines(recorder, shared.clock)
    dispatcher = Dispatcher(
        record.store,
        bridge,
        deadlines,
        recorder,
        shared.presence,
        record.registry,
        shared.clock,
        record.vault,
        send_without_expiry=shared.settings.mqtt.send_without_expiry,
    )
    return Sending(bridge, recorder, deadlines, Jobs(recorder, shared.clock), dispatcher)


def _receiving(shared: Shared, record: Record, sending: Sending) -> Receiving:
    settings, clock, store = shared.settings, shared.clock, record.store
    patience = settings.requests.answer_seconds
    replies = RequestReplies(sending.bridge, store.requests, clock, record.vault, patience)
    answering = providers(settings, store.sources, clock, record.registry.bound)
    requests = Requests(store.requests, answering, replies, clock, patience)
    inbound = wiring.router(
        sending.bridge,
        record.registry,
        shared.presence,
        sending.recorder,
        clock,
        Events(sending.bridge, store.events, shared.told, clock, sending.jobs.heard),
        sending.dispatcher.outstanding,
        requests=requests,
        states=shared.states,
        raw_methods=settings.commands.raw_methods,
    )
    return Receiving(replies, requests, inbound)


def _use_cases(shared: Shared, record: Record, sending: Sending, receiving: Receiving) -> UseCases:
    settings, clock, limits = shared.settings, shared.clock, shared.limits
    store, registry = record.store, record.registry
    heartbeat = settings.watch_heartbeat_seconds
    commands = Commands(
        store,
        sending.dispatcher,
        shared.hub,
        registry,
        clock,
        record.vault,
        heartbeat_seconds=heartbeat,
        permissions=Permissions(
            raw_methods=settings.commands.raw_methods,
            control_streams=settings.commands.control_streams,
        ),
        limits=limits,
        on_replay=record.audit.replayed,
    )
    fleet = Fleet(registry, shared.states, heartbeat_seconds=heartbeat, limits=limits)
    events = EventWatching(
        store.events, shared.told, registry, heartbeat_seconds=heartbeat, limits=limits
    )
    inbox = Inbox(
        store.requests,
        receiving.replies,
        clock,
        registry,
        heartbeat_seconds=heartbeat,
        limits=limits,
    )
    return UseCases(commands, fleet, events, inbox)
