"""Real MQTT brokers, started for a test on a free port and ended with it.

mosquitto where it is installed, and the NATS server that pip installs, which speaks MQTT 3.1.1
only. Tests that need one are marked ``broker``.
"""

import base64
import getpass
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_LIMIT_SECONDS = 15
# Debian keeps daemons where a user's PATH does not look.
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))

NAMES = ("mosquitto", "nats")


def binary(name: str) -> str | None:
    """Where the broker's program is; None when it is not installed."""
    if name == "mosquitto":
        return shutil.which("mosquitto", path=_SEARCH)
    beside_python = Path(sys.executable).with_name("nats-server")
    return str(beside_python) if beside_python.exists() else shutil.which("nats-server")


@dataclass
class RunningBroker:
    """A broker that can be stopped and started again on the same port."""

    name: str
    folder: Path
    port: int
    extra: str = ""
    whole: str = ""
    """The whole configuration; the usual one and ``extra`` when it is empty."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def speaks_v5(self) -> bool:
        """Whether messages can expire and PUBACKs have reasons."""
        return self.name == "mosquitto"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        program = binary(self.name)
        assert program is not None, f"{self.name} is not installed"
        file = self.folder / f"{self.name}.conf"
        usual = _mosquitto if self.name == "mosquitto" else _nats
        file.write_text(self.whole or usual(self))
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(file)], stdout=log, stderr=log)
        give_up = time.monotonic() + _LIMIT_SECONDS
        while not _listens(self.port):
            assert self._process.poll() is None, (self.folder / "broker.log").read_text()
            assert time.monotonic() < give_up, f"{self.name} does not listen"
            time.sleep(0.01)  # another program: there is no signal to wait for

    def reload(self) -> None:
        """Ask it to read its files anew; it does so a moment later."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def freeze(self) -> None:
        """Let it do nothing any more, without closing anything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it hard, in the middle of whatever it was doing."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(_LIMIT_SECONDS)
        self._process = None

    def stop(self) -> None:
        """End it, frozen or not."""
        if self._process is not None:
            self._process.terminate()
            self.thaw()
            self._process.wait(_LIMIT_SECONDS)
            self._process = None


Start = Callable[[str], RunningBroker]
"""Starts a broker with more configuration."""


@contextmanager
def running(name: str, extra: str = "") -> Iterator[RunningBroker]:
    """A broker in a folder of its own, ended at the end."""
    with tempfile.TemporaryDirectory() as folder:
        broker = RunningBroker(name, Path(folder), free_port(), extra)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_passwords(file: Path, passwords: Mapping[str, str]) -> None:
    """Each user's line in mosquitto's form: PBKDF2 with SHA-512."""
    salt = b"salt-of-test"
    lines = []
    for user, password in passwords.items():
        hashed = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
        both = "$".join(base64.b64encode(part).decode() for part in (salt, hashed))
        lines.append(f"{user}:$7$101${both}\n")
    file.write_text("".join(lines), encoding="utf-8")
    file.chmod(0o600)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _mosquitto(broker: RunningBroker) -> str:
    return f"""
listener {broker.port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 100000
max_inflight_messages 1000
user {getpass.getuser()}
{broker.extra}
"""


def _nats(broker: RunningBroker) -> str:
    return f"""
listen: "127.0.0.1:-1"
server_name: "{broker.name}-{broker.port}"
jetstream {{ store_dir: "{broker.folder / "jetstream"}" }}
mqtt {{ listen: "127.0.0.1:{broker.port}" }}
{broker.extra}
"""
