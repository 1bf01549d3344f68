"""How long one life takes when nothing else goes on, and how long its parts take alone."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import aiomqtt
import aiosqlite
import grpc
from load.storm import Dock

from bench import bare
from bench.plan import Plan, Result, Wanted, quantile
from bench.stage import Bare, Stage
from bench.throughput import submissions
from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server import mqtt

_WARM_UP: Final = 50
_ROW: Final = b"x" * 600
"""About what a command takes in its table."""
_DURABLE: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "CREATE TABLE row (seq INTEGER PRIMARY KEY, data BLOB)",
)
_INSERT: Final = "INSERT INTO row (data) VALUES (?)"
_SAID: Final = b'{"tid":"03fb4905-d3cf-48b0-b6fc-36975d618724","data":{"result":0}}' * 3


async def measure(plan: Plan, stage: Stage, parts: Bare, result: Result) -> None:
    """Round by round: each part, then the whole."""
    async with (
        _echoing(parts) as echo,
        _over_the_broker(stage.broker.port) as over_the_broker,
        _by_aiomqtt(stage.broker.port) as by_aiomqtt,
        _by_aiosqlite(stage.folder / "aiosqlite.db") as by_aiosqlite,
        _living(stage) as live,
    ):
        with _committing(stage.folder / "bare.db") as commit:
            steps = {
                "echo": echo,
                "mqtt": over_the_broker,
                "commit": commit,
                "aiomqtt": by_aiomqtt,
                "aiosqlite": by_aiosqlite,
                "life": live,
            }
            times: dict[str, list[list[float]]] = {name: [] for name in steps}
            for _ in range(plan.rounds):
                for name, step in steps.items():
                    times[name].append(await _timed(step, plan.single))
    medians = {name: [quantile(one, 0.5) for one in of] for name, of in times.items()}
    worst = {name: [quantile(one, 0.99) for one in of] for name, of in times.items()}
    result.show("gRPC echo, p50", medians["echo"], "ms")
    result.show("MQTT there and back over mosquitto, p50", medians["mqtt"], "ms")
    result.show("durable commit of SQLite, p50", medians["commit"], "ms")
    parts_of = zip(medians["echo"], medians["mqtt"], medians["commit"], strict=True)
    together = ("the three together", [sum(one) for one in parts_of])
    name = "submit to SUCCEEDED seen by a watcher"
    result.show(f"{name}, p50", medians["life"], "ms", together, Wanted(at_most=1.5))
    result.show("MQTT there and back by aiomqtt, p50", medians["aiomqtt"], "ms")
    result.show("durable commit by aiosqlite, p50", medians["aiosqlite"], "ms")
    by_libraries = zip(medians["echo"], medians["aiomqtt"], medians["aiosqlite"], strict=True)
    together = ("the three by their libraries", [sum(one) for one in by_libraries])
    result.show("  the same", medians["life"], "ms", together)
    own = ("its p50", medians["life"])
    result.show(f"{name}, p99", worst["life"], "ms", own, Wanted(at_most=3.0))
    result.show("gRPC echo, p99", worst["echo"], "ms", ("its p50", medians["echo"]))


async def _timed(step: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Milliseconds of each step."""
    for _ in range(_WARM_UP):
        await step()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await step()
        times.append(1000 * (time.perf_counter() - began))
    return times


@asynccontextmanager
async def _echoing(parts: Bare) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    message = next(submissions("latency-echo", 1))
    async with grpc.aio.insecure_channel(parts.grpc_address) as channel:
        call = channel.unary_unary(bare.ECHO)

        async def echo() -> None:
            await call(message)

        yield echo


@asynccontextmanager
async def _over_the_broker(port: int) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """A message to a dock and its answer, as a command has them, without the gateway."""
    loop = asyncio.get_running_loop()
    back = asyncio.Event()

    def answer(dock: Dock, payload: bytes) -> None:
        dock.publish("services_reply", payload)

    docks = (
        Dock("bench", "services", answer, "bench-dock"),
        Dock("bench", "services_reply", lambda *_: back.set(), "bench-gateway"),
    )
    for dock in docks:
        await loop.create_connection(lambda dock=dock: dock, "127.0.0.1", port)
        await dock.ready

    async def there_and_back() -> None:
        back.clear()
        docks[1].publish("services", _SAID)
        await back.wait()

    yield there_and_back
    for dock in docks:
        dock.close()


@asynccontextmanager
async def _by_aiomqtt(port: int) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """The same with the library under the gateway's bridge at one end."""
    topic = "thing/product/library/services"
    dock = Dock("library", "services", lambda of, said: of.publish("services_reply", said))
    await asyncio.get_running_loop().create_connection(lambda: dock, "127.0.0.1", port)
    await dock.ready
    client = aiomqtt.Client(
        *("127.0.0.1", port),
        identifier="library",
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=mqtt.SOCKET_OPTIONS,
    )
    async with client:
        await client.subscribe(f"{topic}_reply", qos=1)

        async def there_and_back() -> None:
            await client.publish(topic, _SAID, qos=1)
            await anext(client.messages)

        yield there_and_back
    dock.close()


@asynccontextmanager
async def _by_aiosqlite(file: Path) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """A row made durable by the library under the gateway's store, on its thread."""
    async with aiosqlite.connect(file, isolation_level=None) as db:
        for line in _DURABLE:
            await db.execute(line)

        async def commit() -> None:
            await db.execute(_INSERT, (_ROW,))

        yield commit


@contextmanager
def _committing(file: Path) -> Iterator[Callable[[], Awaitable[Any]]]:
    """A row made durable, directly: no hop to another thread."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for line in _DURABLE:
            db.execute(line)

        async def commit() -> None:
            db.execute(_INSERT, (_ROW,))

        yield commit


@asynccontextmanager
async def _living(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """A submission, until a watcher has seen its end."""
    messages = submissions("latency", 1_000_000)
    ended: dict[str, asyncio.Event] = {}
    seen: set[str] = set()
    async with grpc.aio.insecure_channel(stage.server.address) as channel:
        stub: Any = CommandServiceStub(channel)
        updates = stub.WatchCommands(pb.WatchCommandsRequest())

        async def watch() -> None:
            async for update in updates:
                watches.set()
                command = update.event.command
                if command.status == command_pb2.COMMAND_STATUS_SUCCEEDED:
                    seen.add(command.command_id)
                    if command.command_id in ended:
                        ended.pop(command.command_id).set()

        watches = asyncio.Event()
        watching = asyncio.create_task(watch())
        await watches.wait()

        async def live() -> None:
            request = pb.SubmitCommandRequest.FromString(next(messages))
            answer = await stub.SubmitCommand(request)
            command_id = answer.command.command_id
            if command_id not in seen:
                end = ended.setdefault(command_id, asyncio.Event())
                await end.wait()

        yield live
        watching.cancel()
        updates.cancel()
