"""The gRPC server: address, TLS, limits, health and reflection."""

from types import TracebackType

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE
from grpc_reflection.v1alpha import reflection

from dockgate.downlink.v1 import (
    command_service_pb2,
    command_service_pb2_grpc,
    device_request_service_pb2,
    device_request_service_pb2_grpc,
    device_service_pb2,
    device_service_pb2_grpc,
)
from dockgate_server import tls
from dockgate_server.access.bearer import Bearers, WhoAsks, local
from dockgate_server.access.keys import Keys
from dockgate_server.audit import Refused, unheard
from dockgate_server.commands import Commands
from dockgate_server.config import Grpc
from dockgate_server.errors import CannotListen
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.inbox import Inbox
from dockgate_server.rpc.calls import Calls, Take, unlimited
from dockgate_server.rpc.command_service import CommandService
from dockgate_server.rpc.device_request_service import DeviceRequestService
from dockgate_server.rpc.device_service import DeviceService
from dockgate_server.rpc.health import SERVICES, Health
from dockgate_server.tls import TlsProblem

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
        keys: The API keys, by which callers are known. Needed with TLS; without it everybody on
            this machine may do all.
        take: Counts each call against its caller's limit.
        refused: Hears of each call that was refused.
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
        take: Take = unlimited,
        refused: Refused = unheard,
    ) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        self._server = aio.server(
            options=_options(settings), maximum_concurrent_rpcs=settings.max_calls
        )
        calls = Calls(
            _who_asks(settings, keys),
            take=take,
            refused=refused,
            mutual_tls=settings.tls_client_ca is not None,
        )
        command_service_pb2_grpc.add_CommandServiceServicer_to_server(
            calls.through(
                CommandService(commands, settings.max_message_bytes),
                command_service_pb2.DESCRIPTOR.services_by_name["CommandService"],
            ),
            self._server,
        )
        if fleet is not None and events is not None:
            device_service_pb2_grpc.add_DeviceServiceServicer_to_server(
                calls.through(
                    DeviceService(fleet, events),
                    device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"],
                ),
                self._server,
            )
        if inbox is not None:
            device_request_service_pb2_grpc.add_DeviceRequestServiceServicer_to_server(
                calls.through(
                    DeviceRequestService(inbox),
                    device_request_service_pb2.DESCRIPTOR.services_by_name["DeviceRequestService"],
                ),
                self._server,
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
        except TlsProblem as error:
            raise CannotListen(str(error)) from error
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
        credentials = _credentials(self._settings)
        if credentials is None:
            return self._server.add_insecure_port(listen)
        return self._server.add_secure_port(listen, credentials)


def _who_asks(settings: Grpc, keys: Keys | None) -> WhoAsks:
    if settings.tls_certificate is None:
        return local
    if keys is None:
        raise ValueError("TLS is for callers who are known by their API keys, so it needs these")
    return Bearers(keys).who_asks


def _credentials(settings: Grpc) -> grpc.ServerCredentials | None:
    """TLS with the newest files for each connection; None for none.

    Raises:
        TlsProblem: The files cannot be used.
    """
    certificate, key, client_ca = (
        settings.tls_certificate,
        settings.tls_key,
        settings.tls_client_ca,
    )
    if certificate is None or key is None:
        return None

    def load() -> grpc.ServerCertificateConfiguration:
        pem = tls.pem_of(certificate, key, client_ca)
        pair = (pem.key, pem.certificate)
        return grpc.ssl_server_certificate_configuration([pair], pem.client_ca)

    files = [file for file in (certificate, key, client_ca) if file is not None]
    renewed = tls.Renewed("gRPC", files, load)
    # gRPC asks on a thread of its own, and makes a new context of whatever it is given.
    return grpc.dynamic_ssl_server_credentials(
        renewed.current(),
        renewed.change,  # type: ignore[arg-type]  # None stands for no change
        require_client_authentication=client_ca is not None,
    )


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
        ("grpc.max_connection_idle_ms", round(settings.idle_seconds * 1000)),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        ("grpc.server_handshake_timeout_ms", round(settings.handshake_seconds * 1000)),
        # Between the two gRPC refuses by chance, the more often the larger.
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_bytes),
        ("grpc.max_receive_message_length", _LARGEST_READ_BYTES),
        ("grpc.server.max_pending_requests", _PENDING_REQUESTS),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_REQUESTS),
    ]


def _why(error: Exception) -> str:
    text = str(error)
    return "the port is in use, or the address is not this machine's" if "bind" in text else text
