"""The gateway as a whole: makes the parts, starts them in order and stops them in order.

The order is here, in :func:`running`; what the parts are is in ``parts.py``, and who serves them
in ``servers.py``.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from dockgate_server import http
from dockgate_server.app import parts
from dockgate_server.app.parts import Parts
from dockgate_server.app.servers import serving
from dockgate_server.bridge.mqtt import Broker, MqttBridge
from dockgate_server.commands import Commands
from dockgate_server.config import Mqtt, Settings
from dockgate_server.devices.log import WhereaboutsLog
from dockgate_server.devices.registry import Registry
from dockgate_server.errors import CannotListen, DockgateError
from dockgate_server.hub import Hub
from dockgate_server.providers.sts import CannotMint
from dockgate_server.retention import Retention
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
    http_server = http.load(settings.http)
    try:
        async with parts.made(settings, _broker(settings.mqtt)) as made:
            await _recover(made)
            async with made.record.audit, Supervisor() as supervisor:
                whereabouts = _start(made, supervisor)
                async with serving(made, http_server, supervisor) as (grpc, http_address):
                    try:
                        yield App(
                            supervisor,
                            grpc,
                            http_address,
                            made.use_cases.commands,
                            made.sending.bridge,
                            made.record.registry,
                            made.record.store,
                            made.shared.hub,
                        )
                    finally:
                        _refuse_new_work(made)
                # Not reached when a part has died, for which it could wait in vain.
                await _finish(made, whereabouts)
    except (StoreProblem, SealingProblem, CannotListen, CannotMint, DockgateError) as problem:
        raise StartProblem(str(problem)) from problem


async def _recover(made: Parts) -> None:
    """Take up what an earlier process has left, before anything new can come."""
    store, shared = made.record.store, made.shared
    await made.record.registry.load()
    shared.hub.start_from(await store.newest_event_seq())
    shared.told.start_from(await store.events.newest_seq())
    shared.limits.open_commands.recover(await store.open_places())
    await made.sending.dispatcher.recover()
    await made.receiving.replies.recover()
    await made.sending.jobs.recover(store)


def _start(made: Parts, supervisor: Supervisor) -> WhereaboutsLog:
    """Start what runs for as long as the gateway does."""
    store, settings, clock = made.record.store, made.shared.settings, made.shared.clock
    supervisor.watch(store.writing)
    supervisor.start("bridge", made.sending.bridge.run())
    supervisor.start("dispatcher", made.sending.dispatcher.run())
    removing = {"commands": store.remove_old, "events": store.events.remove_old}
    retention = Retention(removing, clock, settings.store.keep_hours)
    supervisor.start("retention", retention.run())
    removing = {"audit_entries": store.audit.remove_old}
    audit_retention = Retention(removing, clock, settings.audit.keep_days * 24)
    supervisor.start("audit-retention", audit_retention.run())
    supervisor.start("audit", made.record.audit.run())
    whereabouts = WhereaboutsLog(store.devices, made.shared.presence, made.record.registry)
    supervisor.start("whereabouts", whereabouts.run())
    return whereabouts


def _refuse_new_work(made: Parts) -> None:
    """Begin to stop, while the servers still answer.

    Before they stop: an open watch would hold them up. And before the dispatcher ends: a
    submission after that would not be sent.
    """
    made.shared.health.stop()
    made.use_cases.commands.stop_accepting()
    made.shared.hub.close()
    made.shared.told.close()
    made.use_cases.inbox.close()
    made.record.registry.feed.close()


async def _finish(made: Parts, whereabouts: WhereaboutsLog) -> None:
    """Bring to an end what is under way, once no server can bring more."""
    await made.receiving.requests.close()
    await made.sending.dispatcher.drain(made.shared.settings.stop_seconds)
    whereabouts.write()
    made.sending.deadlines.close()
    made.receiving.replies.close()
    made.sending.jobs.close()


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
