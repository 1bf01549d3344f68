"""The processes of a scene: broker, docks with the tap, and the server on its database."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from chaos import clients
from chaos.processes import (
    READY_SECONDS,
    Broker,
    NotReady,
    Server,
    choose_ports,
    ended_at_the_end,
    environment,
)
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from load.database import PROBE, gateway
from load.plan import Result

_ASK_AGAIN_SECONDS = 0.01
# Each attempt a connection of its own: one that was refused would make the next one wait.
_UNSHARED = [("grpc.use_local_subchannel_pool", 1)]


@dataclass(slots=True)
class Record:
    """What the docks have taken, and what the tap has seen."""

    received: dict[str, list[str]] = field(default_factory=dict)
    """By gateway, the tids in the order in which they came."""
    most_in_flight: int = 0
    problems: list[str] = field(default_factory=list)


class Witness:
    """The process of ``load.witness``."""

    def __init__(self, folder: Path, tap_port: int, broker_port: int) -> None:
        self.taken = 0
        """How many messages the silent docks have taken so far."""
        self._file = folder / "witness.json"
        self._log = folder / "witness.log"
        ports = {"tap_port": tap_port, "broker_port": broker_port}
        self._told = json.dumps({**ports, "file": str(self._file)})
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Start it and wait until the docks are there.

        Raises:
            NotReady: It takes too long.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "load.witness", self._told),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
        self._reading = asyncio.create_task(self._read(self._process), name="witness")
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            raise NotReady(f"the docks do not start; see {self._log}") from None

    async def stop(self) -> None:
        """End it; from then on it has a record."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        assert self._reading is not None
        await self._reading
        await self._process.wait()
        self._process = None

    def record(self) -> Record:
        """What it has written down, once it has ended."""
        return Record(**json.loads(self._file.read_bytes()))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.taken = int(line)
            self._ready.set()


@dataclass(slots=True)
class Stage:
    """Everything that runs, but for the server, which the scene starts."""

    server: Server
    witness: Witness
    folder: Path

    @property
    def database(self) -> Path:
        """The server's database."""
        return self.server.database

    async def serve(self) -> float:
        """Start the server; answers with the seconds until its health is SERVING.

        Raises:
            NotReady: It does not come to that.
        """
        began = time.monotonic()
        await self.server.start()
        ready = asyncio.create_task(self.server.until_ready())
        try:
            while not await _serves(self.server.address):
                if ready.done():
                    await ready
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
            return time.monotonic() - began
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """A stub of the server that serves."""
        async with clients.connected(self.server.address) as stub:
            yield stub

    async def memory_mib(self) -> float:
        """What the server has in memory now."""
        asked = ("ps", "-o", "rss=", "-p", str(self.server.pid))
        ps = await asyncio.create_subprocess_exec(*asked, stdout=asyncio.subprocess.PIPE)
        out, _ = await ps.communicate()
        return int(out) / 1024

    async def close(self, result: Result) -> Record:
        """End server and docks; whatever they have to complain of goes to the result."""
        await self.server.stop()
        await self.witness.stop()
        record = self.witness.record()
        result.problems += [str(one) for one in self.server.violations]
        result.problems += record.problems
        for line in self.server.log.read_text().splitlines():
            if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical"):
                result.problems.append(f"in the server's log: {line}")
        return record


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Broker and docks, running; all processes are ended at the end."""
    tap_port, broker_port, grpc_port = choose_ports(3)
    known = json.dumps([{"id": one} for one in (PROBE, gateway(0))])
    server = Server(folder, grpc_port, tap_port, {"DOCKGATE_DEVICES": known})
    stage = Stage(server, Witness(folder, tap_port, broker_port), folder)
    broker = Broker(folder, broker_port)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ended_at_the_end(broker))
        await broker.start()
        await stack.enter_async_context(ended_at_the_end(stage.witness))
        await stage.witness.start()
        await stack.enter_async_context(ended_at_the_end(stage.server))
        yield stage


async def _serves(address: str) -> bool:
    async with grpc.aio.insecure_channel(address, _UNSHARED) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await health.Check(HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)
