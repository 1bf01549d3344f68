"""The processes that a figure needs: broker, docks, the gateway, and the parts alone."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
from chaos.processes import Broker, NotReady, Server, choose_ports, ended_at_the_end, environment
from load.storm import Dock

DOCKS: Final = tuple(f"dock-{number:03}" for number in range(1, 21))
SUBMIT: Final = "/dockgate.downlink.v1.CommandService/SubmitCommand"
_UNLIMITED: Final = {
    "DOCKGATE_LOG__LEVEL": "warning",
    "DOCKGATE_LIMITS__REQUESTS_PER_SECOND": "1000000",
    "DOCKGATE_LIMITS__REQUESTS_AT_ONCE": "1000000",
}
_READY_SECONDS: Final = 60.0


@dataclass(slots=True)
class Docks:
    """Docks that answer at once, each with a connection of its own."""

    port: int
    on_answered: Callable[[], None] = lambda: None
    """Called when a dock has answered a command."""
    connections: dict[str, Dock] = field(default_factory=dict)

    async def connect(self) -> None:
        """Bring them all to the broker."""
        loop = asyncio.get_running_loop()
        for name in DOCKS:
            dock = Dock(name, "services", self._command)
            _, self.connections[name] = await loop.create_connection(
                lambda dock=dock: dock, "127.0.0.1", self.port
            )
            await dock.ready

    def close(self) -> None:
        """Let them leave."""
        for dock in self.connections.values():
            dock.close()

    def _command(self, dock: Dock, payload: bytes) -> None:
        command = orjson.loads(payload)
        dock.publish("services_reply", orjson.dumps(command | {"data": {"result": 0}}))
        self.on_answered()


@dataclass(slots=True)
class Stage:
    """What runs."""

    folder: Path
    server: Server
    broker: Broker
    docks: Docks
    http_address: str
    ready_seconds: float = 0.0
    """From the start of the gateway's process until it served."""

    async def memory_mib(self) -> float:
        """What the gateway has in memory now."""
        asked = ("ps", "-o", "rss=", "-p", str(self.server.pid))
        ps = await asyncio.create_subprocess_exec(*asked, stdout=asyncio.subprocess.PIPE)
        out, _ = await ps.communicate()
        return int(out) / 1024


@dataclass(frozen=True, slots=True)
class Bare:
    """The parts alone."""

    grpc_address: str
    http_address: str


@asynccontextmanager
async def gateway(folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    """Broker, docks and the gateway on the database in that folder; all end with the block."""
    broker_port, grpc_port, http_port = choose_ports(3)
    told = {
        "DOCKGATE_DEVICES": json.dumps([{"id": one} for one in DOCKS]),
        "DOCKGATE_HTTP__ENABLED": "true",
        "DOCKGATE_HTTP__LISTEN": f"127.0.0.1:{http_port}",
        **_UNLIMITED,
        **(settings or {}),
    }
    server = Server(folder, grpc_port, broker_port, told)
    stage = Stage(
        folder,
        server,
        Broker(folder, broker_port),
        Docks(broker_port),
        f"127.0.0.1:{http_port}",
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ended_at_the_end(stage.broker))
        await stage.broker.start()
        await stage.docks.connect()
        stack.callback(stage.docks.close)
        await stack.enter_async_context(ended_at_the_end(server))
        began = time.monotonic()
        await server.start()
        await server.until_ready()
        stage.ready_seconds = time.monotonic() - began
        yield stage
        await server.stop()


@asynccontextmanager
async def bare() -> AsyncIterator[Bare]:
    """The process of ``bench.bare``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare"), stdout=asyncio.subprocess.PIPE, env=environment()
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_READY_SECONDS):
            ports = (await process.stdout.readline()).split()
        if len(ports) < 2:
            raise NotReady("the servers to compare with do not start")
        yield Bare(f"127.0.0.1:{int(ports[0])}", f"127.0.0.1:{int(ports[1])}")
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


def subfolder(folder: Path, name: str) -> Path:
    """A new folder in that one."""
    made = folder / name
    made.mkdir()
    return made
