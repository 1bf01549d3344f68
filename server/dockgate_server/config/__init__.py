"""The configuration: one object, made once at start, validated whole.

Read from a TOML file and from the environment, which overrules the file. ``DOCKGATE_GRPC__LISTEN``
is ``listen`` in section ``[grpc]``. Every mistake is reported, all together, by the name under
which it was set; secrets are never printed.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dockgate_server.config import mistakes
from dockgate_server.config.audit import AuditSection
from dockgate_server.config.limits import LimitsSection
from dockgate_server.config.listeners import Grpc, Http, is_loopback, share_a_port
from dockgate_server.config.providers import (
    ObjectStorage,
    Registration,
    Requests,
    Takeoff,
)
from dockgate_server.config.sections import (
    CommandsSection,
    Log,
    Mqtt,
    Section,
    SeedDevice,
    SeedDevices,
    Store,
)

__all__ = [
    "ConfigProblem",
    "Grpc",
    "Http",
    "Log",
    "Mqtt",
    "SeedDevice",
    "Settings",
    "Store",
    "is_loopback",
    "load",
    "load_store",
    "reference",
]


class ConfigProblem(Exception):
    """The configuration cannot be used; the message lists every mistake, one a line."""


class _Environment(EnvSettingsSource):
    """The variables."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """A list or a section; what is no JSON is left as it is, and found to be neither."""
        try:
            return json.loads(value)
        except ValueError:
            return value


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=mistakes.ENV_PREFIX,
        env_nested_delimiter=mistakes.DELIMITER,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    grpc: Grpc = Grpc()
    http: Http = Http()
    mqtt: Mqtt = Mqtt()
    store: Store = Store()
    commands: CommandsSection = CommandsSection()
    limits: LimitsSection = LimitsSection()
    audit: AuditSection = AuditSection()
    requests: Requests = Requests()
    registration: Registration = Registration()
    takeoff: Takeoff = Takeoff()
    object_storage: ObjectStorage = ObjectStorage()
    log: Log = Log()
    devices: SeedDevices = ()
    """Devices that are known before they announce themselves, as a list of tables with `id`,
    `gateway` and `tenant`; whatever a dock announces overrules `gateway`."""
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
        return (init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls))


_OfStore: type[Settings] = create_model(
    "_OfStore",
    __base__=Settings,
    **{name: (Any, None) for name in Settings.model_fields if name != "store"},  # type: ignore[call-overload]
)
"""The database's section alone: whoever works on that need not know the gateway's secrets. The
names of the others must be right all the same: one of them may have been meant to be this."""


def load_store(file: Path | None = None) -> Store:
    """Read what concerns the database; what concerns others is not looked at.

    Raises:
        ConfigProblem: With every mistake there is.
    """
    return _load(_OfStore, file).store


def load(file: Path | None = None, **overrides: Any) -> Settings:
    """Read the configuration.

    Args:
        file: A TOML file; none by default.
        overrides: Sections that overrule file and environment, e.g. from the command line.

    Raises:
        ConfigProblem: With every mistake there is.
    """
    return _load(Settings, file, **overrides)


def _load(settings: type[Settings], file: Path | None, **overrides: Any) -> Settings:
    if file is not None and not file.is_file():
        if file.is_dir():
            raise ConfigProblem(f"the configuration file {file} is a folder")
        raise ConfigProblem(f"there is no configuration file {file}")

    class FromFile(settings):  # type: ignore[valid-type, misc]
        model_config = SettingsConfigDict(toml_file=file)

        @model_validator(mode="before")
        @classmethod
        def _noted(cls, values: dict[str, Any]) -> dict[str, Any]:
            given.update(values)
            return values

    given: dict[str, Any] = {}
    read: Settings | None = None
    wrong = mistakes.unknown_variables(Settings)
    try:
        read = FromFile(**overrides)
    except ValidationError as error:
        wrong += [mistakes.described(dict(one), Settings) for one in error.errors()]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigProblem(f"{file} is not TOML: {error}") from None
    except OSError as error:
        raise ConfigProblem(f"{error.filename or file} cannot be read: {error.strerror}") from None
    if settings is Settings:
        wrong += _one_port_for_both(given)
    if read is None or wrong:
        raise ConfigProblem("\n".join(wrong))
    return read


def _one_port_for_both(given: dict[str, Any]) -> list[str]:
    """Of two sections: so looked at by itself, whatever else is wrong with either."""
    try:
        one = _setting(Grpc, given.get("grpc"), "listen")
        other = _setting(Http, given.get("http"), "listen")
        enabled = _setting(Http, given.get("http"), "enabled")
    except ValidationError:
        return []
    if not enabled or not share_a_port(one, other):
        return []
    taken = {"loc": ("http", "listen"), "msg": f"{other} is taken by grpc.listen, {one}"}
    return [mistakes.described(taken, Settings)]


def _setting(section: type[Section], given: Any, name: str) -> Any:
    """One setting as it was given, or its default.

    Raises:
        ValidationError: It is wrong itself.
    """
    field = section.model_fields[name]
    if not isinstance(given, dict) or name not in given:
        return getattr(given, name, field.default)
    form: Any = Annotated[field.annotation, field]
    return TypeAdapter(form).validate_python(given[name])


def reference() -> list[tuple[str, str, str]]:
    """Every setting: its name, its default and what it means, for the README."""
    rows = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            rows += [_row(f"{name}.{key}", one) for key, one in section.model_fields.items()]
        else:
            rows.append(_row(name, field))
    return rows


def _row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    default = field.get_default()
    shown = "" if default is None or default == () else str(default)
    return name, shown.lower() if isinstance(default, bool) else shown, field.description or ""
