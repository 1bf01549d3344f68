"""mosquitto with the configuration of docs/broker, and clients of it: honest ones and others."""

import getpass
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt

from dockgate_server.config import Mqtt
from dockgate_server.simulate import Broker, flags
from support import brokers
from support.brokers import RunningBroker
from support.certificates import Authority

DOCS = Path(__file__).parent.parent.parent / "docs" / "broker"
USERS = ("dockgate", "dock-001", "drc-dock-001", "dock-002")
WAYS = ("password", "certificate")
"""How a client proves who it is."""


@dataclass(frozen=True)
class SecuredBroker:
    """The broker, and who may do what on it.

    Attributes:
        ports: The listener for each of ``WAYS``.
        server: Signed the broker's certificate.
        clients: Signs those of clients.
    """

    broker: RunningBroker
    ports: dict[str, int]
    server: Authority
    clients: Authority

    @property
    def acl(self) -> Path:
        """The list of topics."""
        return self.broker.folder / "acl"

    def url(self, way: str) -> str:
        """Where to connect."""
        return f"mqtts://127.0.0.1:{self.ports[way]}"

    def settings(self, way: str, user: str = "dockgate") -> dict[str, Any]:
        """The section [mqtt] of a gateway."""
        of_all = {"url": self.url(way), "ca_certificate": self.server.certificate}
        if way == "password":
            return of_all | {"username": user, "password": secret_of(user)}
        certificate, key = self.clients.issue(user)
        return of_all | {"client_certificate": certificate, "client_key": key}

    def tls(self, way: str = "password", user: str = "dockgate") -> ssl.SSLContext:
        """TLS as the gateway has it."""
        context = Mqtt(**self.settings(way, user)).tls_context()
        assert context is not None
        return context

    def dock(self, way: str, user: str) -> Broker:
        """The broker as a simulated dock is told of it, by the flags of its command."""
        trusted = self.server.certificate
        if way == "password":
            url = self.url(way).replace("//", f"//{user}@")
            return flags.parse_broker(url, password=secret_of(user), ca_file=trusted)
        certificate, key = self.clients.issue(user)
        return flags.parse_broker(
            self.url(way), ca_file=trusted, cert_file=certificate, key_file=key
        )

    def client(self, user: str, **changed: Any) -> aiomqtt.Client:
        """A client by password that does as it likes."""
        options = {
            "hostname": "127.0.0.1",
            "port": self.ports["password"],
            "username": user,
            "password": secret_of(user),
            "tls_context": self.tls(),
            "protocol": aiomqtt.ProtocolVersion.V5,
            **changed,
        }
        return aiomqtt.Client(**options)


def secret_of(user: str) -> str:
    """A user's password."""
    return f"secret of {user}"


@contextmanager
def running() -> Iterator[SecuredBroker]:
    """The broker, with the files of docs/broker; only paths, ports and its own user are changed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = {way: brokers.free_port() for way in WAYS}
        server, clients = Authority(folder / "server"), Authority(folder / "clients")
        certificate, key = server.issue("broker", "127.0.0.1")
        for file, content in (
            ("server.pem", certificate),
            ("server.key", key),
            ("clients-ca.pem", clients.certificate),
            ("acl", DOCS / "acl"),
        ):
            shutil.copyfile(content, folder / file)
        brokers.write_passwords(folder / "passwords", {user: secret_of(user) for user in USERS})
        config = (DOCS / "mosquitto.conf").read_text(encoding="utf-8")
        for here, there in (
            ("/etc/mosquitto/dockgate/", f"{folder}/"),
            ("/var/lib/mosquitto/", f"{folder}/"),
            ("listener 8883\n", f"listener {ports['password']} 127.0.0.1\n"),
            ("listener 8884\n", f"listener {ports['certificate']} 127.0.0.1\n"),
            ("user mosquitto\n", f"user {getpass.getuser()}\n"),
            ("log_dest syslog\n", "log_dest stderr\n"),
        ):
            assert here in config
            config = config.replace(here, there)
        broker = RunningBroker("mosquitto", folder, ports["password"], whole=config)
        broker.start()
        try:
            yield SecuredBroker(broker, ports, server, clients)
        finally:
            broker.stop()


def cut(client: aiomqtt.Client) -> None:
    """End a connection without a DISCONNECT, so that the broker publishes its last will."""
    sock: Any = client._client.socket()
    sock.shutdown(socket.SHUT_RDWR)
