"""The sections of the two servers: where they listen, by which TLS, and their limits."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from dockgate_server import pem
from dockgate_server.config.sections import File, Section, check_pair


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    # Other scripts have digits as well, and not all of them are numbers to int().
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError('must be HOST:PORT, e.g. "127.0.0.1:50051"')
    return value


Address = Annotated[str, AfterValidator(_address)]

_LOCALHOST = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a listener on that HOST:PORT."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def share_a_port(grpc: str, http: str) -> bool:
    """Whether HTTP cannot listen where gRPC does already, as far as the addresses tell."""
    (host, port), (other, other_port) = _parts(grpc), _parts(http)
    if port != other_port or port == 0:
        return False
    taken, wanted = _addresses(host), _addresses(other)
    # To gRPC either of 0.0.0.0 and :: is all addresses, to HTTP those of one family.
    if host == other or any(one.is_unspecified for one in taken):
        return True
    if any(one.is_unspecified for one in wanted):
        families = {one.version for one in taken}
        return not families or not families.isdisjoint(one.version for one in wanted)
    return not taken.isdisjoint(wanted)


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]").lower(), int(port)


def _addresses(host: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host; none for a name of which only the network knows them."""
    try:
        return {ipaddress.ip_address(host)}
    except ValueError:
        return set(_LOCALHOST) if host == "localhost" else set()


_IN_THE_OPEN = "{} can be reached from other machines, so tls_certificate and tls_key are needed"


def _is_in_the_open(listen: str, info: ValidationInfo) -> bool:
    # A certificate that is wrong itself is not known here; then it was given.
    return not is_loopback(listen) and info.data.get("tls_certificate", ...) is None


class _Listener(Section):
    tls_certificate: File | None = None
    """PEM file with the certificate chain. A changed file is taken without a restart."""
    tls_key: File | None = None
    """PEM file with the private key."""

    @field_validator("tls_key")
    @classmethod
    def _belongs_to_the_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        check_pair("tls_certificate", "tls_key", key, info)
        return key


class Grpc(_Listener):
    """The gRPC server."""

    listen: Address = "127.0.0.1:50051"
    """Port 0 lets the system choose."""
    workers: int = Field(default=0, ge=0, le=64)
    """How many processes speak gRPC in front of the one that decides; with 0 that one does so
    itself. For more than 3,500 submissions a second; a single one then takes 0.1 ms longer. The
    limits of connections and calls are for each."""
    reflection: bool = True
    """Let tools such as grpcurl read the schema from the server."""
    keepalive_seconds: int = Field(default=30, ge=5)
    """How long a connection may be silent before it is asked for a sign of life."""
    keepalive_timeout_seconds: int = Field(default=10, ge=1)
    """How long it may take to give it; then it is closed, and its watches with it."""
    max_connection_age_seconds: int = Field(default=3600, ge=60)
    """After this a connection is asked to end, so that clients spread over new servers; its
    watches are resumed by the client."""
    max_message_bytes: int = Field(default=262_144, ge=1024, le=4_194_304)
    """The largest request; one of more than twice that is refused by the connection itself."""
    max_metadata_bytes: int = Field(default=8192, ge=1024, le=1_048_576)
    """The largest metadata of a call: names, values, and 32 bytes for each entry."""
    max_connections: int = Field(default=2000, ge=1)
    """How many may be open at once; the next one is closed. Calls and watches share one."""
    max_calls: int = Field(default=25_000, ge=1)
    """How many calls and watches may be open in all, also those whose request never arrives; the
    next one is refused with RESOURCE_EXHAUSTED. Of them 1,500 may be of the health service and 32
    of reflection, and neither may have more than half."""
    max_streams_per_connection: int = Field(default=20_000, ge=1)
    """How many calls and watches may be open on one connection; the client lets the next wait."""
    handshake_seconds: float = Field(default=10.0, ge=0.1, le=120)
    """How long a new connection may take to speak TLS and HTTP/2."""
    request_seconds: float = Field(default=30.0, ge=0.1, le=300)
    """How long the request of a call may take to arrive."""
    idle_seconds: float = Field(default=300.0, ge=1)
    """How long a connection without calls stays open; clients open it again by themselves."""
    tls_client_ca: File | None = None
    """PEM file with the authorities of clients. With it every client needs a certificate of one
    of them; its name may stand for an API key."""

    @field_validator("listen")
    @classmethod
    def _no_plaintext_beyond_loopback(cls, listen: str, info: ValidationInfo) -> str:
        if _is_in_the_open(listen, info):
            raise ValueError(f"{_IN_THE_OPEN.format(listen)}; or listen on 127.0.0.1")
        return listen

    @field_validator("tls_client_ca")
    @classmethod
    def _clients_are_asked_over_tls(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is None or "tls_certificate" not in info.data:
            return file
        if info.data["tls_certificate"] is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        pem.check_certificates(file)
        return file


class Http(_Listener):
    """The HTTP open API."""

    listen: Address = "127.0.0.1:8080"
    """Port 0 lets the system choose."""
    enabled: bool = True
    """Whether to serve HTTP."""
    trusted_proxy: bool = False
    """Say that a proxy in front of it ends TLS and is the only one that can reach it."""
    max_body_bytes: int = Field(default=262_144, ge=1024)
    """The largest request body."""
    max_head_bytes: int = Field(default=16_384, ge=1024, le=1_048_576)
    """The largest head of a request: its first line and all headers, of which none may be longer
    than 8190 bytes."""
    max_headers: int = Field(default=64, ge=8, le=1000)
    """The most headers of a request."""
    max_connections: int = Field(default=500, ge=1)
    """How many may be open at once, TLS handshakes included; the next one is answered 503 and
    closed, or with TLS just closed."""
    max_connections_per_address: int = Field(default=250, ge=1)
    """How many of them from one address, unless ``trusted_proxy`` is set: who holds connections
    open then shuts out nobody else."""
    head_seconds: float = Field(default=10.0, ge=0.01, le=300)
    """How long the TLS handshake may take, and from then on the first head; a later one as long
    from its first byte on."""
    body_seconds: float = Field(default=30.0, ge=0.01, le=3600)
    """How long a body may take to arrive, and a client to take what it is answered."""
    idle_seconds: float = Field(default=75.0, ge=0.01, le=3600)
    """How long a connection stays open behind an answer."""
    clock_skew_seconds: int = Field(default=300, ge=1, le=3600)
    """How far X-Api-Timestamp may be from our clock."""

    @field_validator("trusted_proxy")
    @classmethod
    def _no_plaintext_beyond_loopback(cls, trusted_proxy: bool, info: ValidationInfo) -> bool:
        listen = info.data.get("listen")
        if listen is not None and not trusted_proxy and _is_in_the_open(listen, info):
            raise ValueError(
                f"listen: {_IN_THE_OPEN.format(listen)}; or trusted_proxy = true where a proxy "
                "ends TLS; or listen on 127.0.0.1"
            )
        return trusted_proxy
