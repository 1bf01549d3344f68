"""The sections of the configuration: what can be set, its limits and its defaults."""

import ipaddress
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    model_validator,
)

from dockgate_server import sealing
from dockgate_server.model.caller import TENANT
from dockgate_server.model.device import SERIAL_NUMBER


class Section(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError('must be HOST:PORT, e.g. "127.0.0.1:50051"')
    return value


Address = Annotated[str, AfterValidator(_address)]


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a listener on that HOST:PORT."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Listener(Section):
    tls_certificate: FilePath | None = None
    """PEM file with the certificate chain. A changed file is taken without a restart."""
    tls_key: FilePath | None = None
    """PEM file with the private key."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key must be given together")
        return self


class Grpc(_Listener):
    """The gRPC server."""

    listen: Address = "127.0.0.1:50051"
    """Port 0 lets the system choose."""
    workers: int = Field(default=0, ge=0, le=64)
    """How many processes speak gRPC in front of the one that decides; with 0 that one does so
    itself. For more than 2,500 submissions a second; a single one then takes 0.1 ms longer. The
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
    next one is refused with RESOURCE_EXHAUSTED. Of them 1500 may be of the health service and 32 of
    reflection, and neither may have more than half."""
    max_streams_per_connection: int = Field(default=20_000, ge=1)
    """How many calls and watches may be open on one connection; the client lets the next wait."""
    handshake_seconds: float = Field(default=10.0, ge=0.1, le=120)
    """How long a new connection may take to speak TLS and HTTP/2."""
    request_seconds: float = Field(default=30.0, ge=0.1, le=300)
    """How long the request of a call may take to arrive."""
    idle_seconds: float = Field(default=300.0, ge=1)
    """How long a connection without calls stays open; clients open it again by themselves."""
    tls_client_ca: FilePath | None = None
    """PEM file with the authorities of clients. With it every client needs a certificate of one
    of them; its name may stand for an API key."""

    @model_validator(mode="after")
    def _clients_are_asked_over_tls(self) -> Self:
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self

    @model_validator(mode="after")
    def _no_plaintext_beyond_loopback(self) -> Self:
        if not is_loopback(self.listen) and self.tls_certificate is None:
            raise ValueError(
                f"listen: {self.listen} can be reached from other machines, so "
                "tls_certificate and tls_key are needed; or listen on 127.0.0.1"
            )
        return self


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

    @model_validator(mode="after")
    def _no_plaintext_beyond_loopback(self) -> Self:
        if not is_loopback(self.listen) and self.tls_certificate is None and not self.trusted_proxy:
            raise ValueError(
                f"listen: {self.listen} can be reached from other machines, so "
                "tls_certificate and tls_key are needed; or trusted_proxy = true where a proxy "
                "ends TLS; or listen on 127.0.0.1"
            )
        return self


class Mqtt(Section):
    """The broker."""

    url: str = "mqtt://127.0.0.1:1883"
    """``mqtt://HOST[:PORT]``, or ``mqtts://`` for TLS. No user and password in it."""
    username: str | None = None
    """The user to connect as; none by default."""
    password: SecretStr | None = None
    """Its password; better in the environment than in a file."""
    client_id: str = Field(default="dockgate", min_length=1, max_length=64)
    """Must be stable and used by this gateway alone: the broker keeps what arrives for it while
    it is away, and throws out the older of two clients with one id."""
    ca_certificate: FilePath | None = None
    """PEM file with the authority that signed the broker's certificate; the system's by
    default."""
    client_certificate: FilePath | None = None
    """PEM file with our own certificate, where the broker asks for one."""
    client_key: FilePath | None = None
    """PEM file with its private key."""
    keepalive_seconds: int = Field(default=15, ge=5, le=600)
    """How often the broker hears of us; a dead one is noticed after about twice this."""
    send_without_expiry: bool = False
    """Also send methods that are not safe to carry out late when the broker speaks only MQTT
    3.1.1, where a message cannot expire. For demonstrations."""

    @model_validator(mode="after")
    def _url_can_be_used(self) -> Self:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as wrong:
            raise ValueError(f"url: {wrong}") from None
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError('url: must be like "mqtt://127.0.0.1:1883" or "mqtts://HOST"')
        if parts.username or parts.password:
            raise ValueError("url: put user and password into username and password")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key must be given together")
        return self

    @property
    def host(self) -> str:
        """The broker's host."""
        return unquote(urlsplit(self.url).hostname or "")

    @property
    def port(self) -> int:
        """The broker's port: 1883, or 8883 with TLS, unless the URL says otherwise."""
        parts = urlsplit(self.url)
        return parts.port or (8883 if parts.scheme == "mqtts" else 1883)

    def tls_context(self) -> ssl.SSLContext | None:
        """TLS for ``mqtts``; None for ``mqtt``."""
        if urlsplit(self.url).scheme != "mqtts":
            return None
        context = ssl.create_default_context(cafile=self.ca_certificate)
        if self.client_certificate and self.client_key:
            # Without one, OpenSSL would ask for a passphrase on the terminal, and wait.
            files = self.client_certificate, self.client_key
            context.load_cert_chain(*files, password="")  # nosec B106
        return context


class Store(Section):
    """The database."""

    path: Path = Path("dockgate.db")
    """The SQLite file; made when it is missing."""
    keep_hours: int = Field(default=720, ge=1, le=876_000)
    """How long an ended command is kept after its last change, with its events and its
    idempotency key."""
    keep_events: int = Field(default=1_000_000, ge=1000, le=100_000_000)
    """How many events of devices are kept at most; they are also removed after
    ``keep_hours``."""
    key_file: Path | None = None
    """The file of the key that seals secrets in the database, 32 bytes; made when it is missing.
    By default beside the database, with ``.key`` appended."""
    key: SecretStr | None = None
    """The key itself, as 64 hexadecimal digits or in base64, instead of a file; better in the
    environment than in a file."""

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key is not None:
            if self.key_file is not None:
                raise ValueError("key: give either key or key_file")
            try:
                sealing.key_of_text(self.key.get_secret_value())
            except ValueError as wrong:
                raise ValueError(f"key: {wrong}") from None
        return self

    @property
    def sealing_key_file(self) -> Path:
        """Where the sealing key is, unless :attr:`key` is given."""
        return self.key_file or self.path.with_name(self.path.name + ".key")

    @property
    def sealing_key(self) -> sealing.KeySource:
        """Where the sealing key comes from."""
        key = None if self.key is None else sealing.key_of_text(self.key.get_secret_value())
        return sealing.KeySource(self.sealing_key_file, key)


def _serial_number(value: str) -> str:
    if not SERIAL_NUMBER.fullmatch(value):
        raise ValueError("must be 1 to 64 characters without '/', '+', '#' and spaces")
    return value


SerialNumber = Annotated[str, AfterValidator(_serial_number)]


def _tenant(value: str) -> str:
    if not TENANT.fullmatch(value):
        raise ValueError(
            "must be 1 to 64 letters, digits, '.', '-' and '_', a letter or digit first"
        )
    return value


Tenant = Annotated[str, AfterValidator(_tenant)]


class SeedDevice(Section):
    """A device that is known before it has announced itself."""

    id: SerialNumber
    gateway: SerialNumber | None = None
    """The dock or remote controller that carries its commands; itself by default."""
    tenant: Tenant | None = None
    """Whose it is, and its gateway with it; whatever was known before by default."""


def _of_one_tenant(devices: tuple[SeedDevice, ...]) -> tuple[SeedDevice, ...]:
    """A device and its gateway cannot be of two tenants."""
    tenants: dict[str, str] = {}
    for one in devices:
        if one.tenant is None:
            continue
        for serial_number in (one.id, one.gateway or one.id):
            if tenants.setdefault(serial_number, one.tenant) != one.tenant:
                raise ValueError(f"{serial_number} is given two tenants")
    return devices


SeedDevices = Annotated[tuple[SeedDevice, ...], AfterValidator(_of_one_tenant)]


class Log(Section):
    """What the server writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is worth a line."""
    format: Literal["text", "json"] = "text"
    """text for people, json for machines."""


class CommandsSection(Section):
    """What callers may submit beyond the ordinary."""

    raw_methods: bool = False
    """Accept raw_method: methods that the schema does not have, sent unchecked."""
    control_streams: bool = False
    """Accept stick_control, drone_control and heart_beat, which steer an aircraft directly."""
