"""How gRPC listens, and its server in a process: the gateway's own, or a worker's."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from dockgate_server import pem, tls
from dockgate_server.errors import CannotListen, cannot_listen
from dockgate_server.rpc import accepting, grpc_log, undecodable
from dockgate_server.tls import TlsProblem

if TYPE_CHECKING:
    from dockgate_server.config import Grpc
    from dockgate_server.rpc.calls import Handlers

ALTERNATIVE_NAMES = ("peer_dns", "peer_uri", "peer_email")
COMMON_NAME = ("x509_common_name",)
"""By this order a client's certificate is known; its common name counts only where it has none of
the others."""

_AGE_GRACE_SECONDS = 30
# So many times the setting, so that a request that is over it is read and gets its reason. Not
# more: it is read before it is known who asks.
_READ_BEYOND_LIMIT = 2
# A storm of new watchers must queue, not be refused: gRPC would turn 4,000 of 10,000 away.
_PENDING_REQUESTS = 100_000


@dataclass(frozen=True, slots=True)
class Terms:
    """What a server has to know to listen, as plain values."""

    listen: str
    """HOST:PORT; port 0 lets the system choose."""
    options: list[tuple[str, int]]
    """For gRPC's core."""
    max_calls: int
    """Calls and watches that may be open at once."""
    tls: tuple[str, str, str | None] | None
    """The files of certificate, key and clients' authorities."""

    @property
    def mutual_tls(self) -> bool:
        """Whether clients have certificates."""
        return self.tls is not None and self.tls[2] is not None


def terms(settings: "Grpc") -> Terms:
    """How the gateway listens."""
    files = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        client_ca = None if settings.tls_client_ca is None else str(settings.tls_client_ca)
        files = (str(settings.tls_certificate), str(settings.tls_key), client_ca)
    return Terms(settings.listen, _options(settings), settings.max_calls, files)


class Listener:
    """gRPC's server in this process."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._server = accepting.server(terms.options, terms.max_calls)

    def add(self, *handlers: "Handlers") -> None:
        """Serve these too, from the start on."""
        self._server.add_generic_rpc_handlers(handlers)

    async def start(self) -> int:
        """Listen; answers with the port.

        Raises:
            CannotListen: The address is in use, or is not ours, or TLS files are unreadable.
        """
        listen = self._terms.listen
        try:
            if self._terms.tls is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, _credentials(*self._terms.tls))
        except TlsProblem as error:
            raise CannotListen(str(error)) from error
        except (RuntimeError, OSError) as error:
            if "bind" in str(error):
                raise cannot_listen("gRPC", listen) from error
            raise cannot_listen("gRPC", listen, str(error)) from error
        undecodable.tolerate()
        grpc_log.keep_few()
        await self._server.start()
        return port

    async def run(self) -> None:
        """Watch over a server that listens; to be cancelled when it has been stopped.

        Raises:
            Exception: gRPC takes no more calls, although nobody has told it to stop.
        """
        await self._server.wait_for_termination()
        await asyncio.Event().wait()

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and let those that there are go on for so long."""
        await self._server.stop(seconds)


def _credentials(certificate: str, key: str, client_ca: str | None) -> grpc.ServerCredentials:
    """TLS with the newest files for each connection.

    Raises:
        TlsProblem: The files cannot be used.
    """
    files = [Path(file) for file in (certificate, key, client_ca) if file is not None]

    def load() -> grpc.ServerCertificateConfiguration:
        found = pem.read(files[0], files[1], files[2] if client_ca is not None else None)
        pair = (found.key, found.certificate)
        return grpc.ssl_server_certificate_configuration([pair], found.client_ca)

    renewed = tls.Renewed("gRPC", files, load)
    # gRPC asks on a thread of its own, and makes a new context of whatever it is given.
    return grpc.dynamic_ssl_server_credentials(
        renewed.current(),
        renewed.change,  # type: ignore[arg-type]  # None stands for no change
        require_client_authentication=client_ca is not None,
    )


def _options(settings: "Grpc") -> list[tuple[str, int]]:
    return [
        # Two servers on one port would each get half of the calls, which only workers are meant to.
        ("grpc.so_reuseport", int(settings.workers > 0)),
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
        ("grpc.max_receive_message_length", _READ_BEYOND_LIMIT * settings.max_message_bytes),
        ("grpc.server.max_pending_requests", _PENDING_REQUESTS),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_REQUESTS),
    ]
