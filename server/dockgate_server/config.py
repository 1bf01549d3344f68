"""The configuration: one object, made once at start, validated whole.

Read from a TOML file and from the environment, which overrules the file. ``DOCKGATE_GRPC__LISTEN``
is ``listen`` in section ``[grpc]``. Every mistake is reported, all together, by the name under
which it was set; secrets are never printed.
"""

import ipaddress
import os
import ssl
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dockgate_server.model.device import SERIAL_NUMBER

ENV_PREFIX = "DOCKGATE_"


class ConfigProblem(Exception):
    """The configuration cannot be used; the message lists every mistake, one a line."""


class _Section(BaseModel):
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


class _Listener(_Section):
    tls_certificate: FilePath | None = None
    """PEM file with the certificate chain."""
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
    reflection: bool = True
    """Let tools such as grpcurl read the schema from the server."""
    keepalive_seconds: int = Field(default=30, ge=5)
    """How long a connection may be silent before it is asked for a sign of life."""
    keepalive_timeout_seconds: int = Field(default=10, ge=1)
    """How long it may take to give it; then it is closed, and its watches with it."""
    max_connection_age_seconds: int = Field(default=3600, ge=60)
    """After this a connection is asked to end, so that clients spread over new servers; its
    watches are resumed by the client."""
    max_message_bytes: int = Field(default=1_048_576, ge=65_536)
    """The largest request."""

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
    """Serve it at all."""
    trusted_proxy: bool = False
    """Say that a proxy in front of it ends TLS and is the only one that can reach it."""
    max_body_bytes: int = Field(default=262_144, ge=1024)
    """The largest request body."""
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


class Mqtt(_Section):
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
            context.load_cert_chain(self.client_certificate, self.client_key)
        return context


class Store(_Section):
    """The database."""

    path: Path = Path("dockgate.db")
    """The SQLite file; made when it is missing."""
    key_file: Path | None = None
    """The key that seals the secrets of API keys; made when it is missing. By default beside
    the database, with ``.key`` appended."""

    @property
    def sealing_key_file(self) -> Path:
        """Where the sealing key is."""
        return self.key_file or self.path.with_name(self.path.name + ".key")


def _serial_number(value: str) -> str:
    if not SERIAL_NUMBER.fullmatch(value):
        raise ValueError("must be 1 to 64 characters without '/', '+', '#' and spaces")
    return value


SerialNumber = Annotated[str, AfterValidator(_serial_number)]


class SeedDevice(_Section):
    """A device that is known before it has announced itself."""

    id: SerialNumber
    gateway: SerialNumber | None = None
    """The dock or remote controller that carries its commands; itself by default."""


class Log(_Section):
    """What the server writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is worth a line."""
    format: Literal["text", "json"] = "text"
    """text for people, json for machines."""


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    grpc: Grpc = Grpc()
    http: Http = Http()
    mqtt: Mqtt = Mqtt()
    store: Store = Store()
    log: Log = Log()
    devices: tuple[SeedDevice, ...] = ()
    """Devices that are known before they announce themselves, as a list of tables with `id` and
    `gateway`; whatever a dock announces overrules them."""
    watch_heartbeat_seconds: float = Field(default=15.0, ge=0.05, le=300)
    """After how long of nothing a watcher gets a heartbeat."""
    stop_seconds: float = Field(default=10.0, ge=0, le=300)
    """How long a stop waits for calls that are being answered."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The caller first, then the environment, then the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load(file: Path | None = None, **overrides: Any) -> Settings:
    """Read the configuration.

    Args:
        file: A TOML file; none by default.
        overrides: Sections that overrule file and environment, e.g. from the command line.

    Raises:
        ConfigProblem: With every mistake there is.
    """
    if file is not None and not file.is_file():
        raise ConfigProblem(f"there is no configuration file {file}")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    mistakes = _unknown_variables()
    try:
        settings = FromFile(**overrides)
        if not mistakes:
            return settings
    except tomllib.TOMLDecodeError as error:
        raise ConfigProblem(f"{file} is not TOML: {error}") from None
    except ValidationError as error:
        mistakes += [_mistake(dict(one)) for one in error.errors()]
    raise ConfigProblem("\n".join(mistakes))


def reference() -> list[tuple[str, str, str]]:
    """Every setting: its name, its default and what it means, for the README."""
    rows = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            rows += [_row(f"{name}.{key}", one) for key, one in section.model_fields.items()]
        else:
            rows.append(_row(name, field))
    return rows


def _row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    default = field.get_default()
    shown = "" if default is None or default == () else str(default)
    return name, shown.lower() if isinstance(default, bool) else shown, field.description or ""


def _unknown_variables() -> list[str]:
    """Variables with our prefix that mean nothing: a typing error would be silent otherwise."""
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}
    return [
        f"{name}: there is no such setting"
        for name in sorted(os.environ)
        if name.startswith(ENV_PREFIX)
        and name.split("__")[0] not in known
        and name not in NOT_SETTINGS
    ]


NOT_SETTINGS = frozenset({"DOCKGATE_SERVER", "DOCKGATE_SIM_PASSWORD"})
"""Variables with our prefix that are read elsewhere: by the client commands and the simulator."""


def _mistake(error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    message = str(error["msg"]).removeprefix("Value error, ")
    message = {"Extra inputs are not permitted": "there is no such setting"}.get(message, message)
    if path and not path[-1].isdigit() and message.startswith(f"{path[-1]}: "):
        message = message.removeprefix(f"{path[-1]}: ")
    variable = f"{ENV_PREFIX}{'__'.join(path)}".upper()
    return f"{'.'.join(path)} ({variable}): {message}"
