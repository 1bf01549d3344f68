"""Broker, server and simulated dock, started in this order and wired to each other."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dockgate_server.dev.brokers import Broker
from dockgate_server.dev.children import Child, ChildProblem, Children

DOCK = "dock-001"
DRONE = "drone-001"

_READY_SECONDS = 30.0
_DOCKGATE = (sys.executable, "-m", "dockgate_server")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the three listen, on 127.0.0.1."""

    grpc: int
    http: int
    mqtt: int


@dataclass(frozen=True, slots=True)
class Key:
    """An API key for the HTTP open API."""

    api_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything, running."""

    broker: Broker
    ports: Ports
    database: Path
    key: Key

    @property
    def grpc_address(self) -> str:
        """Where gRPC is."""
        return f"127.0.0.1:{self.ports.grpc}"

    @property
    def http_address(self) -> str:
        """Where HTTP is."""
        return f"127.0.0.1:{self.ports.http}"

    @property
    def mqtt_url(self) -> str:
        """Where the broker is."""
        return f"mqtt://127.0.0.1:{self.ports.mqtt}"


async def start(
    children: Children, broker: Broker, ports: Ports, data: Path, scratch: Path
) -> Stack:
    """Start everything and wait until it is ready.

    Args:
        children: Who ends it again, also what was started before something failed.
        broker: Which broker to start.
        ports: Where to listen.
        data: The folder for the database.
        scratch: A folder for files that nobody needs afterwards.

    Raises:
        ChildProblem: Something does not start.
    """
    database = data / "dockgate.db"
    environment = _environment(broker, ports, database)
    await _start_broker(children, broker, ports.mqtt, scratch, environment)
    server = await children.start(
        "server", (*_DOCKGATE, "serve", "--json"), environment, _says("ready", True)
    )
    await children.until_ready(server, _READY_SECONDS)
    # The dock last: it announces itself to a server that listens.
    dock = await _start_dock(children, ports.mqtt, environment)
    key = await _make_key(environment)
    await children.until_ready(dock, _READY_SECONDS)
    return Stack(broker, ports, database, key)


def _environment(broker: Broker, ports: Ports, database: Path) -> Mapping[str, str]:
    """What the children are configured by; of this process's own DOCKGATE_… nothing."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("DOCKGATE_")}
    return inherited | {
        "DOCKGATE_GRPC__LISTEN": f"127.0.0.1:{ports.grpc}",
        "DOCKGATE_HTTP__LISTEN": f"127.0.0.1:{ports.http}",
        "DOCKGATE_MQTT__URL": f"mqtt://127.0.0.1:{ports.mqtt}",
        # A broker without expiry would have most methods refused.
        "DOCKGATE_MQTT__SEND_WITHOUT_EXPIRY": "false" if broker.has_expiry else "true",
        "DOCKGATE_STORE__PATH": str(database),
        "DOCKGATE_LOG__LEVEL": "warning",
    }


async def _start_broker(
    children: Children, broker: Broker, port: int, folder: Path, environment: Mapping[str, str]
) -> None:
    child = await children.start("broker", broker.command(port, folder), environment)
    listens = asyncio.create_task(_until_listening(port), name="broker-listens")
    try:
        # Quiet: NATS writes its whole log to standard error.
        await children.until_ready(child, _READY_SECONDS, sign=listens, quiet=True)
    finally:
        listens.cancel()


async def _until_listening(port: int) -> str:
    """Brokers give no sign that all their versions have in common, so the port is asked."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return ""


async def _start_dock(children: Children, port: int, environment: Mapping[str, str]) -> Child:
    command = (
        *(*_DOCKGATE, "simulate", "--json"),
        *("--broker", f"mqtt://127.0.0.1:{port}", "--dock", DOCK, "--drone", DRONE),
    )
    return await children.start("dock", command, environment, _says("kind", "accepted"))


async def _make_key(environment: Mapping[str, str]) -> Key:
    process = await asyncio.create_subprocess_exec(
        *(*_DOCKGATE, "keys", "create", "--label", "dockgate dev", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        raise ChildProblem(f"cannot make an API key: {errors.decode(errors='replace').strip()}")
    made = json.loads(output)
    return Key(made["api_id"], made["secret"])


def _says(name: str, value: object) -> Callable[[str], bool]:
    def is_ready(line: str) -> bool:
        try:
            return bool(json.loads(line).get(name) == value)
        except (ValueError, AttributeError):
            return False

    return is_ready
