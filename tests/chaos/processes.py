"""The real processes: server, broker and docks, in one folder, all ended at the end."""

import asyncio
import json
import os
import random
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.brokers import RunningBroker

from chaos import methods
from chaos.evidence import Span, Violation

READY_SECONDS = 30.0
_STOP_SECONDS = 20.0
_TESTS = Path(__file__).parents[1]
_BROKER = """
persistence true
persistence_location {folder}/
autosave_interval 2
"""
"""So a broker that was killed comes back with what it knew two seconds ago, and delivers again."""


class NotReady(Exception):
    """A process that the run cannot do without does not start."""


def choose_ports(count: int) -> list[int]:
    """Free ports that no connection is given as its own.

    The system gives connections ports from about 32768 on. A port from there might be taken while
    its server is dead, even by a client that tries to reach that server.
    """
    chosen: list[int] = []
    while len(chosen) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in chosen:
                chosen.append(port)
    return chosen


@dataclass(slots=True)
class Life:
    """One life of the server, in UTC milliseconds since 1970."""

    ready: int | None = None
    ended: int | None = None


class Server:
    """`dockgate serve`, over and over, always on the same database and port.

    Args:
        folder: Where its database and its log are.
        grpc_port: Where it listens.
        broker_port: Where it finds its broker.
        settings: More of its settings, as variables of its environment.
    """

    def __init__(
        self,
        folder: Path,
        grpc_port: int,
        broker_port: int,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.address = f"127.0.0.1:{grpc_port}"
        self.database = folder / "dockgate.db"
        self.log = folder / "server.log"
        self.lives: list[Life] = []
        self.violations: list[Violation] = []
        self._environment = environment() | {
            "DOCKGATE_GRPC__LISTEN": self.address,
            "DOCKGATE_HTTP__ENABLED": "false",
            "DOCKGATE_MQTT__URL": f"mqtt://127.0.0.1:{broker_port}",
            "DOCKGATE_STORE__PATH": str(self.database),
            "DOCKGATE_COMMANDS__CONTROL_STREAMS": "true",
            "DOCKGATE_LOG__FORMAT": "json",
            # More than a dock could ever do in time is what these runs are about.
            "DOCKGATE_LIMITS__OPEN_COMMANDS_PER_DEVICE": "1000000",
            **(settings or {}),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._output: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; does not wait until it is ready."""
        self._ready.clear()
        self.lives.append(Life())
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dockgate_server", "serve", "--json"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        reading = self._read_output(self._process, self.lives[-1])
        self._output = asyncio.create_task(reading, name="server-output")

    async def until_ready(self) -> None:
        """Wait until it serves.

        Raises:
            NotReady: It has ended instead, or takes too long.
        """
        assert self._process is not None
        ended = asyncio.ensure_future(self._process.wait())
        ready = asyncio.ensure_future(self._ready.wait())
        await asyncio.wait(
            (ended, ready), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        for one in (ended, ready):
            one.cancel()
        if not self._ready.is_set():
            code = self._process.returncode
            what = "is not ready in time" if code is None else f"has ended with exit code {code}"
            raise NotReady(f"the server {what}; see {self.log}")

    async def kill(self) -> None:
        """End it by SIGKILL."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._ended(expected=-9)

    async def stop(self) -> None:
        """End it politely; one that does not end is killed."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._ended(expected=0)

    def outages(self) -> list[Span]:
        """When it did not serve, between its first readiness and its last end."""
        outages = []
        began: int | None = None
        for life in self.lives:
            if life.ready is None:
                continue
            if began is not None:
                outages.append(Span(began, life.ready))
            began = life.ended
        return outages

    async def _ended(self, expected: int) -> None:
        assert self._process is not None
        assert self._output is not None
        now = _now()
        code = await self._process.wait()
        await self._output
        self.lives[-1].ended = now
        if code != expected:
            text = f"it ended with exit code {code} where {expected} was expected"
            self.violations.append(Violation("server ended by itself", "", text))
        self._process = None

    async def _read_output(self, process: asyncio.subprocess.Process, life: Life) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if b'"ready"' in line:
                life.ready = _now()
                self._ready.set()


class Broker:
    """mosquitto, on the port behind the tap."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._running = RunningBroker("mosquitto", folder, port, _BROKER.format(folder=folder))

    async def start(self) -> None:
        """Start it and wait until it listens."""
        await _whole(self._running.start)

    async def kill(self) -> None:
        """End it by SIGKILL."""
        await _whole(self._running.kill)

    async def stop(self) -> None:
        """End it politely: it saves what it keeps."""
        await _whole(self._running.stop)


class Docks:
    """Simulated docks, each a process; they say what reached them.

    Args:
        count: How many.
        broker_port: Where they find their broker.
        log: What they write to standard error.
    """

    def __init__(self, count: int, broker_port: int, log: Path) -> None:
        self.drones = [f"drone-{number:03}" for number in range(1, count + 1)]
        self.received: Counter[tuple[str, str]] = Counter()
        """How often each command reached its dock, by dock and tid or number."""
        self.absences: dict[str, list[Span]] = defaultdict(list)
        """When each of them was not at the broker."""
        self._broker_port = broker_port
        self._log = log
        self._processes: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        self._accepted: dict[str, asyncio.Event] = {}
        self._away_since: dict[str, int] = {}

    async def start(self) -> None:
        """Start them all; does not wait until they are known to the server."""
        for number, drone in enumerate(self.drones):
            gateway = drone.replace("drone", "dock")
            config = {
                "port": self._broker_port,
                "gateway": gateway,
                "drone": drone,
                # For every other one the broker keeps messages while it is away.
                "keep_session": 60 * (number % 2),
                "behave": methods.BEHAVIOURS,
                "reply": methods.REPLIES,
            }
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "chaos.dock", json.dumps(config)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env=environment(),
                    start_new_session=True,
                )
            self._processes.append(process)
            self._accepted[gateway] = asyncio.Event()
            reading = self._read(process, gateway)
            self._readers.append(asyncio.create_task(reading, name=gateway))

    async def until_accepted(self) -> None:
        """Wait until the server has answered all of them.

        Raises:
            NotReady: It has not, for too long.
        """
        try:
            async with asyncio.timeout(READY_SECONDS):
                for accepted in self._accepted.values():
                    await accepted.wait()
        except TimeoutError:
            raise NotReady(f"a dock is not answered by the server; see {self._log}") from None

    async def stop(self) -> None:
        """End them all."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes:
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
        await asyncio.gather(*self._readers)
        self._processes = []

    async def _read(self, process: asyncio.subprocess.Process, gateway: str) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            happened = json.loads(line)
            at = happened["at_ms"]
            match happened["kind"]:
                case "accepted":
                    self._accepted[gateway].set()
                case "received":
                    self.received[gateway, str(happened.get("tid") or happened.get("seq"))] += 1
                case "connected":
                    self.absences[gateway].append(Span(self._away_since.pop(gateway, at), at))
                case _:
                    self._away_since.setdefault(gateway, at)


@asynccontextmanager
async def ended_at_the_end(process: Server | Broker | Docks) -> AsyncIterator[None]:
    """End a process whatever happens."""
    try:
        yield
    finally:
        await process.stop()


def environment() -> dict[str, str]:
    """What children are configured by; of this process's own DOCKGATE_… nothing."""
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("DOCKGATE_")}
    paths = (str(_TESTS), inherited.get("PYTHONPATH", ""))
    return inherited | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


async def _whole(change: Callable[[], None]) -> None:
    """Do something that blocks, to its end also when cancelled.

    A broker that is just being started would otherwise be left behind.
    """
    doing = asyncio.ensure_future(asyncio.to_thread(change))
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait((doing,))
        raise


def _now() -> int:
    return int(time.time() * 1000)
