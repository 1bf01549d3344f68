"""The gRPC server: address, TLS, limits, health and reflection."""

from types import TracebackType

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate.downlink.v1 import (
    device_request_service_pb2_grpc,
    device_service_pb2_grpc,
)
from dockgate_server.commands import Commands
from dockgate_server.config import Grpc
from dockgate_server.errors import CannotListen
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.inbox import Inbox
from dockgate_server.rpc.command_service import CommandService
from dockgate_server.rpc.device_request_service import DeviceRequestService
from dockgate_server.rpc.device_service import DeviceService
from dockgate_server.rpc.health import SERVICES, Health

_AGE_GRACE_SECONDS = 30
# Above the setting, so that a request over the limit is read and gets its reason.
_LARGEST_READ_BYTES = 4_259_840
# A storm of new watchers must queue, not be refused: gRPC would turn 4,000 of 10,000 away.
_PENDING_REQUESTS = 100_000


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
    ) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        self._server = aio.server(options=_options(settings))
        pb_grpc.add_CommandServiceServicer_to_server(
            CommandService(commands, settings.max_message_bytes), self._server
        )
        if fleet is not None and events is not None:
            device_service_pb2_grpc.add_DeviceServiceServicer_to_server(
                DeviceService(fleet, events), self._server
            )
        if inbox is not None:
            device_request_service_pb2_grpc.add_DeviceRequestServiceServicer_to_server(
                DeviceRequestService(inbox), self._server
            )
        self._health = health
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (*SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.address = settings.listen
        """HOST:PORT; the port is the real one once the server has been entered."""

    async def __aenter__(self) -> "RpcServer":
        """Listen.

        Raises:
            CannotListen: The address is in use, or is not ours, or TLS files are unreadable.
        """
        listen = self._settings.listen
        try:
            port = self._add_port(listen)
        except (RuntimeError, OSError) as error:
            raise CannotListen(f"cannot listen for gRPC on {listen}: {_why(error)}") from error
        self.address = f"{listen.rpartition(':')[0]}:{port}"
        await self._server.start()
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

    def _add_port(self, listen: str) -> int:
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        if certificate is None or key is None:
            return self._server.add_insecure_port(listen)
        pair = (key.read_bytes(), certificate.read_bytes())
        return self._server.add_secure_port(listen, grpc.ssl_server_credentials([pair]))


def _options(settings: Grpc) -> list[tuple[str, int]]:
    return [
        # Two servers on one port would each get half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", settings.keepalive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_seconds * 1000),
        # gRPC's own bandwidth probe is a ping too, and while it waits for its answer no keepalive
        # is sent: with its default of 60 s a dead watcher would stay for a minute.
        ("grpc.http2.ping_timeout_ms", settings.keepalive_timeout_seconds * 1000),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients may keep their own connections alive as often as we do.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_age_ms", settings.max_connection_age_seconds * 1000),
        ("grpc.max_connection_age_grace_ms", _AGE_GRACE_SECONDS * 1000),
        ("grpc.max_receive_message_length", _LARGEST_READ_BYTES),
        ("grpc.server.max_pending_requests", _PENDING_REQUESTS),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_REQUESTS),
    ]


def _why(error: Exception) -> str:
    text = str(error)
    return "the port is in use, or the address is not this machine's" if "bind" in text else text
