"""A storm of events: none that asks for an answer is lost, and commands hardly notice it.

By itself with ``python -m load.events``: 5,000 a second from 100 docks for 30 s, as `make storm`.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import clients
from chaos.processes import NotReady, Server, choose_ports, ended_at_the_end, environment
from support import brokers, programs

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.device import Topology
from dockgate_server.store.sqlite import SqliteStore
from load import database
from load.database import PROBE
from load.plan import Outcome, Result
from load.report import Report
from load.storm import Told

_EVERY_SECONDS = 0.01
_CALL_SECONDS = 30.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class StormPlan:
    """What the storm is, and what it must keep to."""

    docks: int = 100
    rate: float = 5000
    """Events a second, of all docks together."""
    seconds: float = 30
    copies: int = 1
    """How often each event that asks for an answer goes out at once."""
    quiet_seconds: float = 10
    """How long commands are measured without a storm."""
    delay_seconds: float = 0.05
    """By how much the storm may delay the replies to commands, at the 99th percentile."""


async def run(plan: StormPlan, folder: Path) -> Result:
    """Broker, server and docks; measure in the quiet, then in the storm, then count."""
    result = Result("events")
    (grpc_port,) = choose_ports(1)
    with brokers.running("mosquitto") as broker:
        server = Server(folder, grpc_port, broker.port)
        async with SqliteStore(server.database) as store:
            probe = Topology(PROBE, "", (), database.now_ms())
            await store.devices.save_topology(DEFAULT_TENANT, probe)
        async with ended_at_the_end(server):
            await server.start()
            await server.until_ready()
            told = await _measured(plan, folder, broker.port, server, result)
    _judge(plan, told, server, result)
    return result


async def _measured(
    plan: StormPlan, folder: Path, port: int, server: Server, result: Result
) -> Told:
    async with _storming(plan, folder, port) as storm, clients.connected(server.address) as stub:
        quiet = await _lives(
            stub, "quiet", asyncio.sleep(plan.quiet_seconds), plan.quiet_seconds, result
        )
        used, began = _cpu_seconds(server.pid), time.monotonic()
        stormy = await _lives(stub, "storm", storm.blow(), plan.seconds, result)
        share = (_cpu_seconds(server.pid) - used) / (time.monotonic() - began)
        books = await storm.books()
    result.show_times("submission to SUCCEEDED, quiet", quiet)
    result.show_times("submission to SUCCEEDED, storm", stormy)
    delay = 1000 * (_p99(stormy) - _p99(quiet))
    result.show("delay by the storm at p99", delay, "ms", limit=1000 * plan.delay_seconds)
    result.show("one processor in use by the server", 100 * share, "%")
    return books


def _judge(plan: StormPlan, told: Told, server: Server, result: Result) -> None:
    result.show("events", told.events)
    result.show("events a second", told.events / told.seconds)
    result.show("  that asked for an answer", told.asking)
    result.show("  repeated for want of an answer", told.repeated)
    result.show("  messages in all", told.messages)
    result.show_times("event to answer", told.answer_seconds)
    stored = database.count_events(server.database)
    result.show("events stored", stored)
    if stored != told.events:
        result.problems.append(f"{told.events} events were told and {stored} are stored")
    if told.unanswered or told.unknown_answers:
        result.problems.append(f"{told.unanswered} events stay unanswered")
    if told.answered_twice > told.repeated:
        result.problems.append(f"{told.answered_twice} events were answered twice unasked")
    if told.events < 0.9 * plan.rate * plan.seconds:
        result.problems.append(f"it was no storm: only {told.events} events")
    result.problems += [str(one) for one in server.violations]
    for line in server.log.read_text().splitlines():
        if not line.startswith("{") or json.loads(line)["level"] in ("error", "critical"):
            result.problems.append(f"in the server's log: {line}")


async def _lives(
    stub: Any, name: str, meanwhile: Awaitable[None], seconds: float, result: Result
) -> list[float]:
    """Submit one command after another for the dock that answers; seconds until SUCCEEDED.

    Of those submitted in the first so many seconds: behind them the storm may have calmed down
    already. One that never succeeds must not be missing in silence: it is the slowest of all.
    """
    submitted: dict[str, float] = {}
    succeeded: dict[str, float] = {}
    watching = asyncio.Event()
    drained: asyncio.Event | None = None

    async def watch() -> None:
        async for update in stub.WatchCommands(pb.WatchCommandsRequest(device_id=PROBE)):
            watching.set()
            if update.event.command.status == command_pb2.COMMAND_STATUS_SUCCEEDED:
                succeeded[update.event.command.command_id] = time.monotonic()
                if drained is not None and succeeded.keys() >= submitted.keys():
                    drained.set()

    async def submit() -> None:
        await watching.wait()
        while True:
            key = f"{name}-{len(submitted)}"
            request = pb.SubmitCommandRequest(device_id=PROBE, idempotency_key=key)
            request.dji.flight_setup_abort.SetInParent()
            began = time.monotonic()
            answer = await stub.SubmitCommand(request, timeout=_CALL_SECONDS)
            submitted[answer.command.command_id] = began
            await asyncio.sleep(_EVERY_SECONDS)

    start = time.monotonic()
    tasks = [asyncio.create_task(submit()), asyncio.create_task(watch())]
    try:
        await meanwhile
        tasks[0].cancel()
        drained = asyncio.Event()
        if not succeeded.keys() >= submitted.keys():
            with suppress(TimeoutError):
                await asyncio.wait_for(drained.wait(), _CALL_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended
    missing = submitted.keys() - succeeded.keys()
    if missing:
        result.problems.append(f"{name}: {len(missing)} commands have not succeeded")
    return [
        succeeded[one] - began
        for one, began in submitted.items()
        if one in succeeded and began < start + seconds
    ]


class _Storm:
    """The process of ``load.storm``."""

    def __init__(self, process: asyncio.subprocess.Process, file: Path) -> None:
        self._process = process
        self._file = file

    async def blow(self) -> None:
        """Let the docks tell; returns when all is answered, or they have given up."""
        await self._go_on()
        await self.says("done")

    async def says(self, word: str) -> None:
        """Wait for it to say that."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if line.decode().strip() != word:
            raise NotReady(f"the docks do not work; see {self._file.with_name('storm.log')}")

    async def books(self) -> Told:
        """What came of it."""
        await self._go_on()
        await self._process.wait()
        return Told(**json.loads(self._file.read_bytes()))

    async def _go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def _storming(plan: StormPlan, folder: Path, port: int) -> AsyncIterator[_Storm]:
    file = folder / "storm.json"
    asked = {"docks": plan.docks, "rate": plan.rate, "seconds": plan.seconds}
    asked |= {"copies": plan.copies, "port": port, "file": str(file)}
    with (folder / "storm.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "load.storm", json.dumps(asked)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment(),
            start_new_session=True,
        )
    storm = _Storm(process, file)
    try:
        await storm.says("connected")
        yield storm
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


def _cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def main() -> int:
    """Run and tell; gives the exit code."""
    plan, as_json = _arguments()
    if not programs.is_mosquitto_there():
        return 2
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="dockgate-events-"))
    try:
        result = programs.run(run(plan, folder))
    except asyncio.CancelledError:
        return programs.interrupted()
    if result.is_good:
        shutil.rmtree(folder)
    kept = None if result.is_good else folder
    Report(as_json=as_json).outcome(Outcome(plan, [result], kept, time.monotonic() - began))
    return 0 if result.is_good else 1


def _arguments() -> tuple[StormPlan, bool]:
    parser = argparse.ArgumentParser(
        prog="python -m load.events",
        description="Let docks tell very many events, and measure what commands notice of it.",
    )
    for name, kind in (("docks", int), ("rate", float), ("seconds", float), ("copies", int)):
        default = getattr(StormPlan, name)
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"(default {default})")
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    told = parser.parse_args()
    plan = StormPlan(docks=told.docks, rate=told.rate, seconds=told.seconds, copies=told.copies)
    return plan, bool(told.json)


if __name__ == "__main__":
    sys.exit(main())
