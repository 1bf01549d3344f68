"""Watchers: how fast they are told, what an idle one costs, and how many there can be."""

import asyncio
import time
from typing import Any, Final

import grpc
import orjson

from bench import bare, http2
from bench.plan import IN_FLIGHT, Plan, Result, Wanted
from bench.stage import DOCKS, Bare, Stage
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub

WATCH: Final = "/dockgate.downlink.v1.CommandService/WatchCommand"
_PATIENCE_SECONDS: Final = 60.0
_CONNECTIONS: Final = 10


class Audience:
    """Many streams over a few connections, and how many messages came over all of them."""

    def __init__(self) -> None:
        self.messages = 0
        self.ended = 0
        self.opened = 0
        self.last = b""
        self._connections: list[http2.Connection] = []
        self._wanted = 0
        self._reached = asyncio.Event()
        self._seen: set[tuple[int, int]] = set()

    async def open(self, address: str, path: str, message: bytes, count: int) -> None:
        """Open so many streams, a few at a time; each is open when its first message is there."""
        loop = asyncio.get_running_loop()
        host, _, port = address.rpartition(":")
        left = count
        done = loop.create_future()

        def more(connection: http2.Connection) -> None:
            nonlocal left
            if left:
                left -= 1
                connection.call(connection.headers(path), message)

        def on_message(number: int, stream: int, content: bytes) -> None:
            self.messages += 1
            self.last = content
            if (number, stream) not in self._seen:
                self._seen.add((number, stream))
                self.opened += 1
                more(self._connections[number])
                if self.opened == count and not done.done():
                    done.set_result(None)
            if self.messages >= self._wanted:
                self._reached.set()

        def on_end(stream: int) -> None:
            self.ended += 1

        for number in range(min(_CONNECTIONS, count)):
            _, connection = await loop.create_connection(
                lambda number=number: http2.Connection(
                    address, lambda *said, number=number: on_message(number, *said), on_end
                ),
                host,
                int(port),
            )
            self._connections.append(connection)
        for number in range(min(IN_FLIGHT, count)):
            more(self._connections[number % len(self._connections)])
        for connection in self._connections:
            connection.flush()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await done

    async def until(self, messages: int) -> None:
        """Wait until so many messages have come in all.

        Raises:
            TimeoutError: They do not.
        """
        self._wanted = messages
        self._reached.clear()
        if self.messages < messages:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._reached.wait()

    async def close(self) -> None:
        """Leave."""
        for connection in self._connections:
            connection.close()
        await asyncio.gather(*(connection.lost for connection in self._connections))


async def measure(plan: Plan, stage: Stage, parts: Bare, result: Result) -> None:
    """Rounds of the fan-out, then ten thousand who wait."""
    ours, alone = [], []
    async with grpc.aio.insecure_channel(stage.server.address) as channel:
        stub: Any = CommandServiceStub(channel)
        for number in range(plan.rounds):
            rate, size = await _ours(plan, stage, stub, f"fanout-{number}")
            ours.append(rate)
            alone.append(await _alone(plan, parts, size))
        beside = ("bare gRPC streaming", alone)
        name = f"messages to {plan.watchers:,} watchers of one command"
        result.show(name, ours, "/s", beside, Wanted(0.7))
        await _idle(plan, stage, stub, result)


async def _ours(plan: Plan, stage: Stage, stub: Any, key: str) -> tuple[float, int]:
    """Messages a second, and the size of one: a job's reports, all told to all."""
    command_id = await _job(stub, key)
    audience = Audience()
    request = pb.WatchCommandRequest(command_id=command_id, follow_job=True)
    await _until_succeeded(stub, command_id)
    await audience.open(stage.server.address, WATCH, request.SerializeToString(), plan.watchers)
    # What was before is told first: SUCCEEDED is the fourth.
    await audience.until(4 * plan.watchers)
    before, began = audience.messages, time.monotonic()
    for number in range(plan.pushes):
        _report(stage, command_id, number + 1)
    await audience.until(before + plan.watchers * plan.pushes)
    seconds = time.monotonic() - began
    size = len(audience.last)
    await audience.close()
    return plan.watchers * plan.pushes / seconds, size


async def _alone(plan: Plan, parts: Bare, size: int) -> float:
    """The same from a server that does nothing else."""
    audience = Audience()
    await audience.open(parts.grpc_address, bare.STREAM, b"x" * size, plan.watchers)
    before, began = audience.messages, time.monotonic()
    pushed = [b"x" * size] * plan.pushes
    pushing = asyncio.create_task(http2.calls(parts.grpc_address, bare.PUSH, pushed, 1))
    await audience.until(before + plan.watchers * plan.pushes)
    seconds = time.monotonic() - began
    await pushing
    await audience.close()
    return plan.watchers * plan.pushes / seconds


async def _idle(plan: Plan, stage: Stage, stub: Any, result: Result) -> None:
    """Everybody waits for one command, whose end then reaches everybody."""
    command_id = await _job(stub, "idle")
    await _until_succeeded(stub, command_id)
    audience = Audience()
    request = pb.WatchCommandRequest(command_id=command_id, follow_job=True)
    before, began = await stage.memory_mib(), time.monotonic()
    await audience.open(
        stage.server.address, WATCH, request.SerializeToString(), plan.idle_watchers
    )
    seconds = time.monotonic() - began
    await audience.until(4 * plan.idle_watchers)
    each = (await stage.memory_mib() - before) * 1024 / plan.idle_watchers
    result.show(f"to open {plan.idle_watchers:,} watchers", seconds, "s")
    result.show("memory for each of them", each, "KiB", wanted=Wanted(at_most=32))
    told, began = audience.messages, time.monotonic()
    _report(stage, command_id, 100, "ok")
    await audience.until(told + plan.idle_watchers)
    result.show("until all of them have seen the end", time.monotonic() - began, "s")
    await audience.close()


async def _job(stub: Any, key: str) -> str:
    request = pb.SubmitCommandRequest(device_id=DOCKS[0], idempotency_key=key)
    request.dji.cover_open.SetInParent()
    answer = await stub.SubmitCommand(request)
    return str(answer.command.command_id)


async def _until_succeeded(stub: Any, command_id: str) -> None:
    async for _ in stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id)):
        pass


def _report(stage: Stage, command_id: str, percent: int, status: str = "in_progress") -> None:
    """The dock says how far it is."""
    output = {"status": status, "progress": {"percent": percent, "step_key": "open_cover"}}
    event = {
        "tid": f"bench-{command_id}-{percent}",
        "bid": command_id,
        "timestamp": 1,
        "need_reply": 0,
        "gateway": DOCKS[0],
        "method": "cover_open",
        "data": {"result": 0, "output": output},
    }
    stage.docks.connections[DOCKS[0]].publish("events", orjson.dumps(event))
