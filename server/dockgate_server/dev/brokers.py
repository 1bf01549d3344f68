"""The MQTT brokers that can be started here: which there are, and how each is told what to do."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/sbin")
"""Where packages put mosquitto; not on everybody's PATH."""


class BrokerMissing(Exception):
    """There is no such broker on this machine; the message says how to get one."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that is installed.

    Attributes:
        name: ``mosquitto`` or ``nats``.
        program: The executable.
        has_expiry: Whether it speaks MQTT 5, where a message can expire.
        configuration: The text of its configuration file for a port and a folder of its own.
    """

    name: str
    program: Path
    has_expiry: bool
    configuration: Callable[[int, Path], str]

    def command(self, port: int, folder: Path) -> list[str]:
        """Write the configuration into the folder and give the command line."""
        file = folder / f"{self.name}.conf"
        file.write_text(self.configuration(port, folder), encoding="utf-8")
        return [str(self.program), "-c", str(file)]


def find(name: str | None = None) -> Broker:
    """The broker of that name; without one, the best that there is.

    Raises:
        BrokerMissing: There is none.
    """
    candidates = [one for one in (_mosquitto(), _nats()) if one and name in (None, one.name)]
    if candidates:
        return candidates[0]
    mosquitto = "mosquitto (e.g. apt install mosquitto)"
    nats = "nats-server (pip install 'dockgate[broker]')"
    match name:
        case "mosquitto":
            raise BrokerMissing(f"there is no {mosquitto} on this machine")
        case "nats":
            raise BrokerMissing(f"there is no {nats} on this machine")
        case _:
            raise BrokerMissing(
                f"there is no broker on this machine: neither {mosquitto} nor {nats}"
            )


def _mosquitto() -> Broker | None:
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_FOLDERS))
    program = shutil.which("mosquitto", path=path)
    if program is None:
        return None
    return Broker("mosquitto", Path(program), has_expiry=True, configuration=_mosquitto_conf)


def _nats() -> Broker | None:
    # pip puts it beside the interpreter, whose folder is not on PATH unless it was activated.
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join((beside, os.environ.get("PATH", "")))
    program = shutil.which("nats-server", path=path)
    if program is None:
        return None
    return Broker("nats", Path(program), has_expiry=False, configuration=_nats_conf)


def _mosquitto_conf(port: int, folder: Path) -> str:
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        # Without it every answer waits 40 ms for an acknowledgement.
        "set_tcp_nodelay true",
        # Of the default of 1000 a burst loses what is beyond.
        "max_queued_messages 100000",
        "max_inflight_messages 1000",
        "persistence false",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    if os.name == "posix" and os.geteuid() == 0:
        # Started by root it would become a user who is not on every machine.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def _nats_conf(port: int, folder: Path) -> str:
    # Its MQTT needs a server name and JetStream; -1 lets the system choose a port.
    return f"""\
server_name: dockgate-dev
listen: "127.0.0.1:-1"
jetstream {{ store_dir: {_quoted(folder / "jetstream")} }}
mqtt {{ host: "127.0.0.1", port: {port} }}
"""


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
