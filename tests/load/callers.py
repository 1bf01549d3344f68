"""The clients that measure: how long calls take meanwhile, and when a watcher sees an end."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import grpc

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from load.database import PROBE
from load.plan import Result
from load.report import Report

_PAUSE_SECONDS = 0.005
_LOOK_SECONDS = 0.05
_CALL_SECONDS = 30.0
_FEWEST_CALLS = 10
_PROBE_TIMEOUT_SECONDS = 300


class Caller:
    """Submits a command for the dock that answers, and asks for any other, one after another.

    Args:
        stub: The server.
        command_ids: Commands that can be asked for.
    """

    def __init__(self, stub: Any, command_ids: Sequence[str]) -> None:
        self._stub = stub
        self._ids = command_ids
        self._rng = random.Random(1)
        self._submitted: dict[str, float] = {}
        self._submits: list[float] = []
        self._gets: list[float] = []
        self._lives: list[float] = []
        self._problems: list[str] = []
        self._has_called = asyncio.Event()

    async def run(self) -> None:
        """Call until cancelled."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._call(), name="caller")
                both.create_task(self._watch(), name="caller-watch")
        except* grpc.aio.AioRpcError as errors:
            self._problems += [f"a call failed: {one!r}" for one in errors.exceptions]
            self._has_called.set()

    async def until_it_has_called(self) -> None:
        """Wait for some calls, however quickly the rest went, or until it is clear that none come.

        A call that is still waited for is among them: its time is the one that matters.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_CALL_SECONDS):
                await self._has_called.wait()

    def show(self, result: Result, slowest_submission: float) -> None:
        """Put the figures into the result."""
        result.problems += self._problems
        result.show("submissions meanwhile", len(self._submits))
        result.show_times("  answer to SubmitCommand", self._submits, limit=slowest_submission)
        result.show_times("  answer to GetCommand", self._gets)
        result.show("  answered by their dock meanwhile", len(self._lives))
        if self._lives:
            result.show_times("  from submission to SUCCEEDED", self._lives)

    async def _call(self) -> None:
        while True:
            request = pb.SubmitCommandRequest(
                device_id=PROBE,
                idempotency_key=f"probe-{len(self._submits)}",
                timeout_seconds=_PROBE_TIMEOUT_SECONDS,
            )
            request.dji.flight_setup_abort.SetInParent()
            began = time.monotonic()
            with _timed(self._submits):
                answer = await self._stub.SubmitCommand(request, timeout=_CALL_SECONDS)
            self._submitted[answer.command.command_id] = began
            wanted = pb.GetCommandRequest(command_id=self._rng.choice(self._ids))
            with _timed(self._gets):
                await self._stub.GetCommand(wanted, timeout=_CALL_SECONDS)
            if len(self._gets) == _FEWEST_CALLS:
                self._has_called.set()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch(self) -> None:
        request = pb.WatchCommandsRequest(device_id=PROBE)
        async for update in self._stub.WatchCommands(request):
            command = update.event.command
            if command.status == command_pb2.COMMAND_STATUS_SUCCEEDED:
                began = self._submitted.pop(command.command_id, None)
                if began is not None:
                    self._lives.append(time.monotonic() - began)


class TimeoutWatch:
    """Watches the commands of a device for TIMED_OUT, and notes how late each is seen."""

    def __init__(self, stub: Any, device_id: str) -> None:
        self._stub = stub
        self._device_id = device_id
        self.seen: list[float] = []
        """Seconds from the deadline until the event came."""
        self.completed: list[float] = []
        """Seconds from the deadline until what the command says of its end."""
        self.began = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        request = pb.WatchCommandsRequest(device_id=self._device_id)
        async for update in self._stub.WatchCommands(request):
            self.began.set()
            command = update.event.command
            if command.status == command_pb2.COMMAND_STATUS_TIMED_OUT:
                deadline = _seconds(command.deadline_at)
                self.seen.append(time.time() - deadline)
                self.completed.append(_seconds(command.completed_at) - deadline)

    async def until(self, count: int, give_up: float, report: Report) -> None:
        """Wait until so many have been seen, or until that time."""
        while len(self.seen) < count and time.time() < give_up:
            report.done(len(self.seen))
            await asyncio.sleep(_LOOK_SECONDS)


@contextmanager
def _timed(times: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    times.append(time.monotonic() - began)


def _seconds(timestamp: Any) -> float:
    return float(timestamp.seconds + timestamp.nanos / 1e9)
