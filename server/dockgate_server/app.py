"""The gateway as a whole: makes the parts, starts them in order and stops them in order."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from dockgate_server import http
from dockgate_server.access import unlocking
from dockgate_server.access.keys import Keys
from dockgate_server.access.verifier import Verifier
from dockgate_server.audit import Audit
from dockgate_server.bridge.interface import Inbound
from dockgate_server.bridge.mqtt import Broker, MqttBridge
from dockgate_server.clock import SystemClock
from dockgate_server.codec import topics
from dockgate_server.commands import Commands, Permissions
from dockgate_server.config import Mqtt, Settings
from dockgate_server.devices.log import WhereaboutsLog
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.dispatcher.jobs import Jobs
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.errors import CannotListen, DockgateError
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.hub import Feed, Hub
from dockgate_server.inbound import wiring
from dockgate_server.inbound.events import Events
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbound.requests import Requests
from dockgate_server.inbox import Inbox
from dockgate_server.limits import Limits
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import CommandEvent
from dockgate_server.model.device import Device
from dockgate_server.model.event import DeviceEvent
from dockgate_server.providers.sts import CannotMint
from dockgate_server.providers.wiring import providers
from dockgate_server.retention import Retention
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer
from dockgate_server.sealing import SealingProblem
from dockgate_server.store.sqlite import SqliteStore, StoreProblem
from dockgate_server.supervision import Supervisor

_COPY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class StartProblem(Exception):
    """The gateway cannot start; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class App:
    """The running gateway, as far as whoever started it needs to see it."""

    supervisor: Supervisor

    grpc_address: str
    http_address: str | None
    commands: Commands
    bridge: MqttBridge
    registry: Registry
    store: SqliteStore
    hub: Hub


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[App], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the gateway until SIGINT or SIGTERM, or until ``stop`` is set.

    Raises:
        StartProblem: A port is in use, the database cannot be opened, a file is missing.
        supervision.TaskEnded: A part has died; going on would be worse than stopping.
    """
    stop = stop or asyncio.Event()
    with _stopping_on_signals(stop):
        async with running(settings) as app:
            _log.info("serving", grpc=app.grpc_address, http=app.http_address)
            if on_ready is not None:
                on_ready(app)
            await app.supervisor.wait(stop)
            _log.info("stopping")
    _log.info("stopped")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[App]:
    """The gateway, serving while the block runs.

    Raises:
        StartProblem: It cannot start.
    """
    clock = SystemClock()
    limits = Limits(settings.limits, clock)
    hub = Hub()
    http_server = http.load(settings.http)
    told: Feed[DeviceEvent] = Feed()
    health = Health()
    presence = PresenceBook(clock)
    states = StateBoard()

    def committed(events: Sequence[CommandEvent]) -> None:
        dispatcher.committed(events)
        jobs.committed(events)
        limits.open_commands.committed(events)
        hub.publish(events)

    def received(message: Inbound) -> None:
        inbound.receive(message)

    def connection_changed(connected: bool) -> None:
        health.connection_changed(connected)
        if connected and not bridge.session_kept:
            presence.forget()
        dispatcher.connection_changed()
        replies.connection_changed()
        inbound.connection_changed()

    try:
        broker = _broker(settings.mqtt)
        async with SqliteStore(
            settings.store.path,
            committed,
            on_writable=health.store_changed,
            keep_events=settings.store.keep_events,
        ) as store:
            vault = await unlocking.vault(store, settings.store.sealing_key)
            await store.secrets.clean(vault)
            subscriptions = [up.value for up in topics.Up]
            bridge = MqttBridge(broker, subscriptions, received, connection_changed)
            recorder = Recorder(store, clock)
            deadlines = Deadlines(recorder, clock)
            jobs = Jobs(recorder, clock)
            dispatcher = Dispatcher(
                store,
                bridge,
                deadlines,
                recorder,
                presence,
                clock,
                vault,
                send_without_expiry=settings.mqtt.send_without_expiry,
            )
            audit = Audit(store.audit, clock)
            registry = Registry(store.devices, presence, *_seeds(settings))
            patience = settings.requests.answer_seconds
            replies = RequestReplies(bridge, store.requests, clock, vault, patience)
            answering = providers(settings, store.sources, clock, registry.bound)
            requests = Requests(store.requests, answering, replies, clock, patience)
            incoming = Events(bridge, store.events, told, clock)
            inbound = wiring.router(
                bridge,
                registry,
                presence,
                recorder,
                clock,
                incoming,
                dispatcher.outstanding,
                requests=requests,
                states=states,
                raw_methods=settings.commands.raw_methods,
            )
            commands = Commands(
                store,
                dispatcher,
                hub,
                registry,
                clock,
                vault,
                heartbeat_seconds=settings.watch_heartbeat_seconds,
                permissions=Permissions(
                    raw_methods=settings.commands.raw_methods,
                    control_streams=settings.commands.control_streams,
                ),
                limits=limits,
                on_replay=audit.replayed,
            )
            heartbeat = settings.watch_heartbeat_seconds
            fleet = Fleet(registry, states, heartbeat_seconds=heartbeat, limits=limits)
            events = EventWatching(
                store.events, told, registry, heartbeat_seconds=heartbeat, limits=limits
            )
            inbox = Inbox(
                store.requests,
                replies,
                clock,
                registry,
                heartbeat_seconds=heartbeat,
                limits=limits,
            )
            await registry.load()
            hub.start_from(await store.newest_event_seq())
            told.start_from(await store.events.newest_seq())
            limits.open_commands.recover(await store.open_places())
            await dispatcher.recover()
            await replies.recover()
            await jobs.recover(store)
            async with audit, Supervisor() as supervisor:
                supervisor.watch(store.writing)
                supervisor.start("bridge", bridge.run())
                supervisor.start("dispatcher", dispatcher.run())
                removing = {"commands": store.remove_old, "events": store.events.remove_old}
                retention = Retention(removing, clock, settings.store.keep_hours)
                supervisor.start("retention", retention.run())
                keep_hours = settings.audit.keep_days * 24
                removing = {"audit_entries": store.audit.remove_old}
                audit_retention = Retention(removing, clock, keep_hours)
                supervisor.start("audit-retention", audit_retention.run())
                supervisor.start("audit", audit.run())
                whereabouts = WhereaboutsLog(store.devices, presence, registry)
                supervisor.start("whereabouts", whereabouts.run())
                keys = Keys(store, settings.store.sealing_key, clock)
                if settings.http.enabled or settings.grpc.tls_certificate is not None:
                    await keys.check()
                async with AsyncExitStack() as servers:
                    rpc = RpcServer(
                        settings.grpc,
                        commands,
                        health,
                        settings.stop_seconds,
                        fleet=fleet,
                        events=events,
                        inbox=inbox,
                        keys=keys,
                        take=limits.rate.take,
                        refused=audit.refused,
                        limits=limits,
                        clock=clock,
                        log=settings.log,
                    )
                    await servers.enter_async_context(rpc)
                    supervisor.start("grpc", rpc.run())
                    open_api = None
                    if http_server is not None:
                        skew = settings.http.clock_skew_seconds
                        verifier = Verifier(store, keys, clock, skew, limits.rate)
                        open_api = http_server(
                            settings.http,
                            commands,
                            verifier,
                            settings.stop_seconds,
                            inbox=inbox,
                            limits=limits,
                            refused=audit.refused,
                        )
                        await servers.enter_async_context(open_api)
                    try:
                        yield App(
                            supervisor,
                            rpc.address,
                            open_api.address if open_api else None,
                            commands,
                            bridge,
                            registry,
                            store,
                            hub,
                        )
                    finally:
                        # In this order: an open watch would hold up the servers' stop, and a
                        # submission after the dispatcher's end would not be sent.
                        health.stop()
                        commands.stop_accepting()
                        hub.close()
                        told.close()
                        inbox.close()
                        registry.feed.close()
                await requests.close()
                await dispatcher.drain(settings.stop_seconds)
                whereabouts.write()
                deadlines.close()
                replies.close()
                jobs.close()
    except (StoreProblem, SealingProblem, CannotListen, CannotMint, DockgateError) as problem:
        raise StartProblem(str(problem)) from problem


def _broker(mqtt: Mqtt) -> Broker:
    try:
        tls = mqtt.tls_context()
    except OSError as error:
        raise StartProblem(f"cannot use the TLS files for the broker: {error}") from error
    return Broker(
        host=mqtt.host,
        port=mqtt.port,
        client_id=mqtt.client_id,
        username=mqtt.username,
        password=mqtt.password.get_secret_value() if mqtt.password else None,
        tls=tls,
        keepalive_seconds=mqtt.keepalive_seconds,
    )


def _seeds(settings: Settings) -> tuple[list[Device], list[Device]]:
    """The devices of the configuration, and those of them of which it says whose they are."""
    decided: dict[str | None, str] = {}
    for seed in settings.devices:
        if seed.tenant is not None:
            decided |= {seed.id: seed.tenant, seed.gateway or seed.id: seed.tenant}
    seeds = []
    for seed in settings.devices:
        tenant = decided.get(seed.id) or decided.get(seed.gateway) or DEFAULT_TENANT
        seeds.append(Device(tenant, seed.id, seed.gateway or seed.id))
    return seeds, [one for one in seeds if one.id in decided or one.gateway_id in decided]


@contextmanager
def _stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks to stop; another one, later, ends the process at once.

    Tools such as make and timeout may deliver one Ctrl-C twice: the copy must not cut the stop
    short.
    """
    loop = asyncio.get_running_loop()
    asked_at: float | None = None

    def asked() -> None:
        nonlocal asked_at
        now = loop.time()
        if asked_at is None:
            asked_at = now
            stop.set()
        elif now - asked_at > _COPY_SECONDS:
            os._exit(130)

    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, asked)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)
