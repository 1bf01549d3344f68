"""The gRPC server: the services, health and reflection, and where calls come in."""

from collections.abc import Iterable
from types import TracebackType
from typing import Final

from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection, reflection_pb2

from dockgate.downlink.v1 import (
    command_service_pb2,
    device_request_service_pb2,
    device_service_pb2,
)
from dockgate_server.access.bearer import Bearers, WhoAsks, local
from dockgate_server.access.keys import Keys
from dockgate_server.audit import Refused, unheard
from dockgate_server.clock import Clock, SystemClock
from dockgate_server.commands import Commands, requests
from dockgate_server.config import Grpc, Log
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.inbox import Inbox
from dockgate_server.limits import Limits, unlimited
from dockgate_server.rpc import listening
from dockgate_server.rpc.arrival import Arrival
from dockgate_server.rpc.calls import Calls, Take, uncounted
from dockgate_server.rpc.command_service import CommandService
from dockgate_server.rpc.device_request_service import DeviceRequestService
from dockgate_server.rpc.device_service import DeviceService
from dockgate_server.rpc.health import MOST_CALLS, SERVICES, Health
from dockgate_server.rpc.listening import Listener
from dockgate_server.rpc.shares import Share, most_of, shares
from dockgate_server.rpc.workers.orders import Method, Orders
from dockgate_server.rpc.workers.pool import Workers

MOST_REFLECTING: Final = 32
"""Streams of reflection that may be open at once: one holds up to a megabyte while its client does
not read."""


class RpcServer:
    """Serves the use cases over gRPC while it is entered.

    Args:
        settings: Where to listen, and the limits.
        commands: The use cases.
        health: What the health service says.
        stop_seconds: How long a stop waits for calls that are being answered. Watches must have
            been ended before, or the stop waits for them all that time.
        fleet: The use cases about devices, where they are served.
        events: Following what devices tell, where that is served.
        inbox: Those about the requests of devices, where they are served.
        keys: The API keys, by which callers are known. Needed with TLS; without it everybody on
            this machine may do all.
        take: Counts each call against its caller's limit.
        refused: Hears of each call that was refused.
        limits: Counts emergencies of callers who are refused by ``take``, and writes down who is
            refused.
        clock: The time.
        log: How the workers write their log, where there are some.
    """

    def __init__(
        self,
        settings: Grpc,
        commands: Commands,
        health: Health,
        stop_seconds: float,
        *,
        fleet: Fleet | None = None,
        events: EventWatching | None = None,
        inbox: Inbox | None = None,
        keys: Keys | None = None,
        take: Take = uncounted,
        refused: Refused = unheard,
        limits: Limits | None = None,
        clock: Clock | None = None,
        log: Log | None = None,
    ) -> None:
        self._stop_seconds = stop_seconds
        clock = clock or SystemClock()
        self._arrival = Arrival(clock, settings.request_seconds)
        limits = limits or unlimited()
        calls = Calls(
            _who_asks(settings, keys),
            self._arrival,
            settings.max_message_bytes,
            limits.refusals,
            take=take,
            take_emergency=limits.emergencies.take,
            refused=refused,
            mutual_tls=settings.tls_client_ca is not None,
        )
        services: list[tuple[object, ServiceDescriptor]] = [
            (
                CommandService(commands),
                command_service_pb2.DESCRIPTOR.services_by_name["CommandService"],
            )
        ]
        if fleet is not None and events is not None:
            described = device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"]
            services.append((DeviceService(fleet, events), described))
        if inbox is not None:
            described = device_request_service_pb2.DESCRIPTOR.services_by_name[
                "DeviceRequestService"
            ]
            services.append((DeviceRequestService(inbox), described))
        open_to_all: list[tuple[object, ServiceDescriptor]] = [
            (health, health_pb2.DESCRIPTOR.services_by_name["Health"])
        ]
        if settings.reflection:
            names = (*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME)
            servicer = reflection.aio.ReflectionServicer(names)  # type: ignore[attr-defined]
            described = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
            open_to_all.append((servicer, described))
        terms = listening.terms(settings)
        most = {HEALTH_SERVICE: MOST_CALLS, reflection.SERVICE_NAME: MOST_REFLECTING}
        here: dict[str, Share] = {}
        self._server: Listener | Workers
        if settings.workers:
            methods = _methods([described for _, described in (*services, *open_to_all)])
            log = log or Log()
            orders = Orders(terms, settings.request_seconds, (log.level, log.format), methods, most)
            self._server = Workers(settings.workers, orders)
        else:
            self._server = Listener(terms)
            here = shares(most, terms.max_calls, clock)
        emergencies = {"SubmitCommand": requests.is_emergency}
        self._server.add(
            *[calls.through(*one, emergencies) for one in services],
            *[calls.open_to_all(*one, here.get(one[1].full_name)) for one in open_to_all],
            calls.of_nothing(),
        )
        self._health = health
        # With workers it is the share of each: none of them is to have watches only.
        health.share(most_of(MOST_CALLS, terms.max_calls))
        self.address = settings.listen
        """HOST:PORT; the port is the real one once the server has been entered."""

    async def __aenter__(self) -> "RpcServer":
        """Listen.

        Raises:
            CannotListen: The address is in use, or is not ours, or TLS files are unreadable.
        """
        port = await self._server.start()
        self.address = f"{self.address.rpartition(':')[0]}:{port}"
        self._health.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more calls and finish those that are being answered."""
        self._health.stop()
        await self._server.stop(self._stop_seconds)

    async def run(self) -> None:
        """Watch over a server that has been entered; to be cancelled when it has been left.

        Raises:
            Exception: gRPC takes no more calls, although nobody has told it to stop.
        """
        await self._server.run()


def _methods(services: Iterable[ServiceDescriptor]) -> dict[str, Method]:
    return {
        f"/{service.full_name}/{rpc.name}": Method(
            asks_once=not rpc.client_streaming, answers_once=not rpc.server_streaming
        )
        for service in services
        for rpc in service.methods
    }


def _who_asks(settings: Grpc, keys: Keys | None) -> WhoAsks:
    if settings.tls_certificate is None:
        return local
    if keys is None:
        raise ValueError("TLS is for callers who are known by their API keys, so it needs these")
    return Bearers(keys).who_asks
