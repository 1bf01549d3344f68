"""The configuration: one object, validated whole, every mistake by the name it was set under."""

import errno
from pathlib import Path
from typing import Any

import pytest
from support import certificates
from support.certificates import Authority

from dockgate_server import config
from dockgate_server.config import ConfigProblem
from dockgate_server.devices.seeds import seeds


def mistakes(file: Path | None = None, **overrides: Any) -> list[str]:
    """What is wrong, one a line."""
    with pytest.raises(ConfigProblem) as problem:
        config.load(file, **overrides)
    return str(problem.value).splitlines()


def toml(tmp_path: Path, text: str) -> Path:
    """A configuration file."""
    file = tmp_path / "dockgate.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_anything_it_serves_on_loopback() -> None:
    """Safe to start on any machine."""
    settings = config.load()
    assert config.is_loopback(settings.grpc.listen)
    assert config.is_loopback(settings.http.listen)
    assert (settings.mqtt.host, settings.mqtt.port) == ("127.0.0.1", 1883)
    assert settings.store.sealing_key_file == Path("dockgate.db.key")
    assert settings.mqtt.tls_context() is None


def test_the_environment_overrules_the_file_and_the_caller_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting by setting, not section by section."""
    file = toml(
        tmp_path,
        '[grpc]\nlisten = "127.0.0.1:1"\nkeepalive_seconds = 60\n[log]\nlevel = "debug"\n'
        '[[devices]]\nid = "drone-001"\ngateway = "dock-001"\n',
    )
    monkeypatch.setenv("DOCKGATE_GRPC__LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("DOCKGATE_STOP_SECONDS", "3")
    settings = config.load(file, log={"level": "error"})
    assert settings.grpc.listen == "127.0.0.1:2"
    assert settings.grpc.keepalive_seconds == 60
    assert settings.log.level == "error"
    assert settings.stop_seconds == 3
    assert [(device.id, device.gateway) for device in settings.devices] == [
        ("drone-001", "dock-001")
    ]


def test_every_mistake_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file, from the environment, and what does not exist."""
    file = toml(
        tmp_path,
        '[grpc]\nlisten = "nowhere"\nlissten = "x"\n[mqtt]\nurl = "http://x"\n'
        '[[devices]]\nid = "a/b"\n',
    )
    monkeypatch.setenv("DOCKGATE_LOG__LEVEL", "loud")
    monkeypatch.setenv("DOCKGATE_GRCP__LISTEN", "127.0.0.1:1")
    found = mistakes(file)
    assert len(found) == 6
    for start in (
        "DOCKGATE_GRCP__LISTEN: there is no such setting",
        "grpc.listen (DOCKGATE_GRPC__LISTEN): must be HOST:PORT",
        "grpc.lissten (DOCKGATE_GRPC__LISSTEN): there is no such setting",
        "mqtt.url (DOCKGATE_MQTT__URL): must be like",
        "devices.0.id (DOCKGATE_DEVICES): must be 1 to 64 printable characters up to U+FFEF",
        "log.level (DOCKGATE_LOG__LEVEL): ",
    ):
        assert any(line.startswith(start) for line in found), (start, found)


def test_what_settings_must_agree_on_is_reported_whatever_else_is_wrong(tmp_path: Path) -> None:
    """One mistake hides no other, neither in its section nor in another one."""
    given = tmp_path / "given.pem"
    given.touch()
    found = mistakes(
        toml(
            tmp_path,
            f"""
            stop_seconds = "x"
            [grpc]
            listen = "0.0.0.0:50051"
            workers = 100
            tls_client_ca = "{given}"
            [http]
            listen = "0.0.0.0:50051"
            tls_key = "{given}"
            [mqtt]
            url = "mqtt://u:p@h"
            client_key = "{given}"
            [store]
            key = "abc"
            key_file = "x"
            keep_hours = 0
            [registration]
            app_id = "1"
            ntp_server_port = 0
            [[registration.organizations]]
            id = "1"
            name = "a"
            binding_code = "b"
            [[registration.organizations]]
            id = "1"
            name = "b"
            binding_code = "c"
            [object_storage]
            bucket = "b"
            provider = "other"
            access_key_id = "k"
            """,
        )
    )
    assert [line.partition(" ")[0] for line in found] == [
        "grpc.listen",
        "grpc.workers",
        "grpc.tls_client_ca",
        "http.tls_key",
        "http.listen",
        "mqtt.url",
        "mqtt.client_key",
        "store.keep_hours",
        "store.key",
        "registration.app_license",
        "registration.ntp_server_port",
        "registration.organizations",
        "object_storage.region",
        "object_storage.provider",
        "object_storage.access_key_secret",
        "stop_seconds",
        "http.listen",
    ]
    assert "give either key or key_file; " in found[8]
    assert found[-1].endswith("0.0.0.0:50051 is taken by grpc.listen, 0.0.0.0:50051")


def _spoiled(authority: Authority, how: str) -> tuple[Path, Path]:
    certificate, key = authority.issue("server", "127.0.0.1")
    if how == "nothing":
        certificate.write_text("nothing")
    elif how == "another key":
        key = authority.issue("other")[1]
    else:
        key.write_text(certificates.ODD_KEY)
    return certificate, key


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("nothing", "no certificate that can be read"),
        ("another key", "does not belong to the certificate"),
        ("an odd key", "no private key that can be read"),
    ],
)
def test_tls_files_that_cannot_be_used_are_mistakes(tmp_path: Path, how: str, why: str) -> None:
    """Of both servers and of the broker, all at once, whatever else is wrong."""
    certificate, key = _spoiled(Authority(tmp_path / "tls"), how)
    server = {"tls_certificate": certificate, "tls_key": key}
    broker = {"client_certificate": certificate, "client_key": key, "ca_certificate": key}
    found = mistakes(
        grpc={**server, "tls_client_ca": key, "workers": 100}, http=server, mqtt=broker
    )
    assert [line.partition(" ")[0] for line in found] == [
        "grpc.tls_key",
        "grpc.workers",
        "grpc.tls_client_ca",
        "http.tls_key",
        "mqtt.ca_certificate",
        "mqtt.client_key",
    ]
    assert all(why in found[at] for at in (0, 3, 5))


@pytest.mark.parametrize(
    ("grpc", "http", "shared"),
    [
        ("127.0.0.1:5", "127.0.0.1:5", True),
        ("127.0.0.1:5", "127.0.0.1:05", True),
        ("127.0.0.1:5", "127.0.0.2:5", False),
        ("127.0.0.1:5", "127.0.0.1:6", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("[::1]:5", "[0:0::1]:5", True),
        ("[::1]:5", "127.0.0.1:5", False),
        # A name may stand for several.
        ("[::1]:5", "localhost:5", True),
        ("localhost:5", "127.0.0.1:5", True),
        ("localhost:5", "127.0.0.2:5", False),
        # What others stand for only the network knows; HTTP says so when it cannot listen.
        ("dock.example:5", "DOCK.example:5", True),
        ("dock.example:5", "localhost:5", False),
        ("dock.example:5", "127.0.0.1:5", False),
        # To gRPC either is all addresses.
        ("0.0.0.0:5", "127.0.0.1:5", True),
        ("0.0.0.0:5", "[::1]:5", True),
        ("0.0.0.0:5", "dock.example:5", True),
        ("[::]:5", "127.0.0.1:5", True),
        # To HTTP they are those of one family.
        ("127.0.0.1:5", "0.0.0.0:5", True),
        ("[::1]:5", "0.0.0.0:5", False),
        ("[::1]:5", "[::]:5", True),
        ("127.0.0.1:5", "[::]:5", False),
        ("localhost:5", "[::]:5", True),
        ("dock.example:5", "0.0.0.0:5", True),
    ],
)
def test_both_servers_on_one_port_are_a_mistake(grpc: str, http: str, shared: bool) -> None:
    """The second one would not start. One that is switched off needs none."""
    assert config.listeners.share_a_port(grpc, http) is shared
    if shared and all(map(config.is_loopback, (grpc, http))):
        (line,) = mistakes(grpc={"listen": grpc}, http={"listen": http})
        assert line.startswith("http.listen (DOCKGATE_HTTP__LISTEN): ")
        assert config.load(grpc={"listen": grpc}, http={"listen": http, "enabled": "no"})


def test_who_works_on_the_database_needs_no_other_settings(tmp_path: Path) -> None:
    """Whoever makes keys need not be able to read those of TLS."""
    text = 'stop_seconds = "x"\n[grpc]\nworkers = 100\n[http]\nx = 1\n[mqtt]\nurl = "x"\n'
    file = toml(tmp_path, f"{text}[log]\nlevel = 1\n[[devices]]\nid = 1\n[store]\npath = 'x.db'")
    assert config.load_store(file).path == Path("x.db")


def test_a_section_that_does_not_exist_is_refused_also_by_who_works_on_the_database(
    tmp_path: Path,
) -> None:
    """It may have been meant to be the database's: another one would be used."""
    with pytest.raises(ConfigProblem, match=r"^sotre .*there is no such setting.* mean store\?$"):
        config.load_store(toml(tmp_path, '[sotre]\npath = "gateway.db"\n'))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[sotre]", "sotre (DOCKGATE_SOTRE): there is no such setting; did you mean store?"),
        (
            "[grpc]\nlissten = 1",
            (
                "grpc.lissten (DOCKGATE_GRPC__LISSTEN): there is no such setting; "
                "did you mean grpc.listen?"
            ),
        ),
        (
            '[[devices]]\nid = "d"\ntennant = "x"',
            (
                "devices.0.tennant (DOCKGATE_DEVICES): there is no such setting; "
                "did you mean devices.0.tenant?"
            ),
        ),
        ("[log]\nxyz = 1", "log.xyz (DOCKGATE_LOG__XYZ): there is no such setting"),
    ],
)
def test_for_a_setting_that_does_not_exist_the_nearest_is_named(
    tmp_path: Path, text: str, line: str
) -> None:
    """Where one is near."""
    assert mistakes(toml(tmp_path, text)) == [line]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("DOCKGATE_MQTT_URL", "there is no such setting; did you mean DOCKGATE_MQTT__URL?"),
        ("DOCKGATE_STOP_SECOND", "there is no such setting; did you mean DOCKGATE_STOP_SECONDS?"),
        ("DOCKGATE_X", "there is no such setting"),
    ],
)
def test_for_a_variable_that_does_not_exist_the_nearest_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    """Where one is near; mostly an underscore is missing."""
    monkeypatch.setenv(name, "1")
    assert mistakes() == [f"{name}: {line}"]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "DOCKGATE_DEVICES",
            "[bad",
            (
                "devices (DOCKGATE_DEVICES): must be a list of tables; in a variable as JSON, e.g. "
                '[{"id": …}]'
            ),
        ),
        ("DOCKGATE_DEVICES", "", "devices (DOCKGATE_DEVICES): must be a list of tables; "),
        ("DOCKGATE_DEVICES", "[5]", "devices.0 (DOCKGATE_DEVICES): must be a table; "),
        ("DOCKGATE_DEVICES__0__ID", "d", "devices (DOCKGATE_DEVICES): must be a list of tables; "),
        (
            "DOCKGATE_DEVICES",
            '[{"gateway": "d"}]',
            "devices.0.id (DOCKGATE_DEVICES): is missing",
        ),
        (
            "DOCKGATE_REGISTRATION__ORGANIZATIONS",
            "[bad",
            "registration.organizations (DOCKGATE_REGISTRATION__ORGANIZATIONS): must be a list",
        ),
        ("DOCKGATE_GRPC", "{bad", "grpc (DOCKGATE_GRPC): must be a table; "),
    ],
)
def test_a_variable_that_is_no_json_is_a_mistake_like_every_other(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    """It is told beside the others, by the variable that can be set."""
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("DOCKGATE_GRPC__WORKERS", "x")
    found = mistakes()
    assert len(found) == 1 + (name != "DOCKGATE_GRPC")
    assert any(one.startswith(line) for one in found), found


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("grpc.workers", "x", "must be a whole number"),
        ("grpc.workers", 1.5, "must be a whole number"),
        ("grpc.workers", 65, "must be at most 64"),
        ("grpc.keepalive_seconds", 1, "must be at least 5"),
        ("grpc.reflection", "perhaps", "must be true or false"),
        ("grpc.tls_client_ca", "/no/such.pem", "there is no file /no/such.pem"),
        ("http.idle_seconds", "x", "must be a number"),
        ("limits.open_commands_per_device", 10**10, "must be at most 1000000000"),
        ("mqtt.client_id", "", "has too few characters; at least 1"),
        ("mqtt.client_id", "x" * 65, "has too many characters; at most 64"),
        ("mqtt.username", 5, "must be text"),
        ("log.level", "loud", "must be 'debug', 'info', 'warning' or 'error'"),
        ("store.path", 5, "must be the name of a file"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(setting: str, value: object, words: str) -> None:
    """Whoever reads them need not know Python."""
    section, name = setting.split(".")
    variable = f"DOCKGATE_{section}__{name}".upper()
    assert mistakes(**{section: {name: value}}) == [f"{setting} ({variable}): {words}"]


@pytest.mark.parametrize("given", ["-----BEGIN PRIVATE KEY-----\nMIGH", "MIGH" * 50, "MIGH" * 500])
def test_a_key_in_place_of_its_file_is_not_printed(given: str) -> None:
    """Nor is it an exception that no file has so long a name."""
    (found,) = mistakes(mqtt={"client_certificate": given})
    assert (
        found
        == "mqtt.client_certificate (DOCKGATE_MQTT__CLIENT_CERTIFICATE): there is no such file"
    )


@pytest.mark.parametrize(
    ("devices", "tenants"),
    [
        ({"dock-1": (None, None)}, {"dock-1": None}),
        ({"dock-1": (None, "north")}, {"dock-1": "north"}),
        # A drone follows its dock, and a dock what is said of its drone.
        ({"dock-1": (None, "north"), "drone-1": ("dock-1", None)}, {"drone-1": "north"}),
        ({"dock-1": (None, None), "drone-1": ("dock-1", "north")}, {"dock-1": "north"}),
        ({"dock-1": (None, "default")}, {"dock-1": "default"}),
    ],
)
def test_a_device_is_of_the_tenant_that_the_configuration_says(
    tmp_path: Path,
    devices: dict[str, tuple[str | None, str | None]],
    tenants: dict[str, str | None],
) -> None:
    """Where it says none, whatever is known of the device holds."""
    lines = []
    for name, (gateway, tenant) in devices.items():
        lines += ["[[devices]]", f'id = "{name}"']
        lines += [f'gateway = "{gateway}"'] if gateway else []
        lines += [f'tenant = "{tenant}"'] if tenant else []
    named, assigned = seeds(config.load(toml(tmp_path, "\n".join(lines))))
    assert {one.id for one in named} == set(devices)
    found = {one.id: one.tenant for one in assigned}
    assert {name: found.get(name) for name in tenants} == tenants


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ('id = "dock-1"\ntenant = "south"', "devices (DOCKGATE_DEVICES): dock-1 is given two"),
        ('id = "d"\ngateway = "dock-1"\ntenant = "south"', "devices (DOCKGATE_DEVICES): dock-1 is"),
        ('id = "d"\ntenant = "a b"', "devices.1.tenant (DOCKGATE_DEVICES): must be 1"),
    ],
)
def test_a_device_has_one_tenant(tmp_path: Path, second: str, problem: str) -> None:
    """A drone that another tenant's dock carries would let each see the other's commands."""
    first = '[[devices]]\nid = "dock-1"\ntenant = "north"\n'
    (found,) = mistakes(toml(tmp_path, f"{first}[[devices]]\n{second}\n"))
    assert found.startswith(problem)


@pytest.mark.parametrize("section", ["grpc", "http"])
@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "dock.example:1"])
def test_a_listener_beyond_loopback_needs_tls(section: str, listen: str) -> None:
    """Nobody sends keys over an open wire by mistake."""
    (found,) = mistakes(**{section: {"listen": listen}})
    assert "tls_certificate and tls_key are needed" in found
    assert listen in found


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:²", "127.0.0.1:٣", "127.0.0.1:65536", "127.0.0.1:", ":1", "127.0.0.1"]
)
def test_an_address_to_listen_on_has_a_host_and_a_port(listen: str) -> None:
    """The port in the digits that every program reads."""
    (found,) = mistakes(grpc={"listen": listen})
    assert found.startswith("grpc.listen (DOCKGATE_GRPC__LISTEN): must be HOST:PORT")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "localhost:0", "127.8.8.8:0"])
def test_loopback_needs_none(listen: str) -> None:
    """In any of its spellings."""
    assert config.load(grpc={"listen": listen}).grpc.listen == listen


def test_clients_are_asked_for_certificates_over_tls_only(tmp_path: Path) -> None:
    """Authorities of clients without a certificate of our own are a setting that does nothing."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    (found,) = mistakes(grpc={"tls_client_ca": authority})
    assert "tls_client_ca needs tls_certificate and tls_key" in found


def test_a_declared_proxy_may_end_tls_for_http() -> None:
    """For gRPC there is no such word."""
    settings = config.load(http={"listen": "0.0.0.0:1", "trusted_proxy": True})
    assert settings.http.trusted_proxy
    assert mistakes(grpc={"listen": "0.0.0.0:1", "trusted_proxy": True})


def test_tls_files_must_be_there_and_both(tmp_path: Path) -> None:
    """A certificate without its key serves nobody."""
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    (found,) = mistakes(grpc={"tls_certificate": certificate})
    assert "tls_certificate and tls_key must be given together" in found
    pair = {"tls_certificate": certificate, "tls_key": tmp_path / "missing.pem"}
    (found,) = mistakes(grpc=pair)
    assert found.startswith("grpc.tls_key (DOCKGATE_GRPC__TLS_KEY)")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("mqtt://broker", "broker", 1883),
        ("mqtts://broker", "broker", 8883),
        ("mqtt://10.0.0.1:99", "10.0.0.1", 99),
        ("mqtt://[::1]:99", "::1", 99),
    ],
)
def test_a_broker_is_named_by_a_url(url: str, host: str, port: int) -> None:
    """The port is the usual one unless it says otherwise."""
    mqtt = config.load(mqtt={"url": url}).mqtt
    assert (mqtt.host, mqtt.port) == (host, port)
    assert (mqtt.tls_context() is not None) is url.startswith("mqtts")


@pytest.mark.parametrize(
    "url", ["", "broker", "tcp://x", "mqtt://", "mqtt://x:port", "mqtt://x:99999", "mqtt://u:p@x"]
)
def test_a_url_that_names_no_broker_is_refused(url: str) -> None:
    """And one with a password in it, which logs would print."""
    (found,) = mistakes(mqtt={"url": url})
    assert found.startswith("mqtt.url (DOCKGATE_MQTT__URL): ")
    assert "u:p@x" not in found


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a representation, not in a mistake."""
    monkeypatch.setenv("DOCKGATE_MQTT__PASSWORD", "hunter2")
    assert "hunter2" not in repr(config.load())
    monkeypatch.setenv("DOCKGATE_MQTT__CLIENT_ID", "")
    assert "hunter2" not in "".join(mistakes())


def test_a_file_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    """Missing, or no TOML, or not even text."""
    missing = tmp_path / "missing.toml"
    assert mistakes(missing) == [f"there is no configuration file {missing}"]
    assert mistakes(tmp_path) == [f"the configuration file {tmp_path} is a folder"]
    broken = toml(tmp_path, "grpc = [")
    (found,) = mistakes(broken)
    assert found.startswith(f"{broken} is not TOML: ")
    broken.write_bytes(b'a = "\xff"')
    (found,) = mistakes(broken)
    assert found.startswith(f"{broken} is not TOML: ")


def test_a_file_that_may_not_be_looked_for_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be there, in a folder that this user may not enter."""

    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    found = mistakes(grpc={"tls_client_ca": "/locked/ca.pem"})
    assert found[0].endswith(": this user may not enter the folder of file /locked/ca.pem")


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Made once; nobody reads the environment later."""
    settings = config.load()
    with pytest.raises(Exception, match="frozen"):
        settings.stop_seconds = 1
    with pytest.raises(Exception, match="frozen"):
        settings.grpc.reflection = False
