"""The sections of the configuration: what can be set, its limits and its defaults."""

import re
import ssl
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from dockgate_server import pem, sealing
from dockgate_server.model.caller import TENANT
from dockgate_server.model.device import SERIAL_NUMBER


class Section(BaseModel):
    """Settings that belong together.

    What several of them must agree on is checked with the last of them, as far as the others are
    right: a check of the whole would only be made when nothing else is wrong.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


_IS_NO_NAME = re.compile(r"-----|\n|.{160}")


def _file(value: Path) -> Path:
    name = str(value)
    # Who gives a key itself in place of its file must not find it in the log.
    shown = "such file" if _IS_NO_NAME.search(name) else f"file {name}"
    try:
        if value.is_file():
            return value
    except PermissionError:
        raise ValueError(f"this user may not enter the folder of {shown}") from None
    except (OSError, ValueError):
        pass  # it cannot be looked for, or is no name at all
    raise ValueError(f"there is no {shown}")


File = Annotated[Path, AfterValidator(_file)]
"""A file that is there."""


def check_pair(certificate: str, key: str, file: Path | None, info: ValidationInfo) -> None:
    """Make sure that a certificate and a key belong together.

    Args:
        certificate: The name of the setting of the certificate, which stands before the key's.
        key: The name of the setting of the key.
        file: The key.
        info: What pydantic says of the settings before it.

    Raises:
        ValueError: They do not.
    """
    if certificate not in info.data:
        return  # it is wrong itself
    chain = info.data[certificate]
    if (chain is None) != (file is None):
        raise ValueError(f"{certificate} and {key} must be given together")
    if chain is not None and file is not None:
        pem.check_pair(chain, file)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as wrong:
        raise ValueError(str(wrong)) from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise ValueError('must be like "mqtt://127.0.0.1:1883" or "mqtts://HOST"')
    if parts.username or parts.password:
        raise ValueError("put user and password into username and password")
    return value


class Mqtt(Section):
    """The broker."""

    url: Annotated[str, AfterValidator(_url)] = "mqtt://127.0.0.1:1883"
    """``mqtt://HOST[:PORT]``, or ``mqtts://`` for TLS. No user and password in it."""
    username: str | None = None
    """The user to connect as; none by default."""
    password: SecretStr | None = None
    """Its password; better in the environment than in a file."""
    client_id: str = Field(default="dockgate", min_length=1, max_length=64)
    """Must be stable and used by this gateway alone: the broker keeps what arrives for it while
    it is away, and throws out the older of two clients with one id."""
    ca_certificate: File | None = None
    """PEM file with the authority that signed the broker's certificate; the system's by
    default."""
    client_certificate: File | None = None
    """PEM file with our own certificate, where the broker asks for one."""
    client_key: File | None = None
    """PEM file with its private key."""
    keepalive_seconds: int = Field(default=15, ge=5, le=600)
    """How often the broker hears of us; a dead one is noticed after about twice this."""
    send_without_expiry: bool = False
    """Also send methods that are not safe to carry out late when the broker speaks only MQTT
    3.1.1, where a message cannot expire. For demonstrations."""

    @field_validator("ca_certificate")
    @classmethod
    def _has_authorities(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                ssl.create_default_context(cafile=file)
            except OSError as error:
                raise ValueError(f"{file} has no certificate that can be read: {error}") from None
        return file

    @field_validator("client_key")
    @classmethod
    def _belongs_to_the_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        check_pair("client_certificate", "client_key", key, info)
        return key

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

    @field_validator("key")
    @classmethod
    def _one_key(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if key is None:
            return key
        wrong = ["give either key or key_file"] if info.data.get("key_file") else []
        try:
            sealing.key_of_text(key.get_secret_value())
        except ValueError as error:
            wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))
        return key

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
        raise ValueError(
            "must be 1 to 64 printable characters up to U+FFEF without '/', '+', '#' and spaces"
        )
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
