"""A task that must not end, and does, ends the process; a clock that tests can move."""

import asyncio

import pytest
from support.clock import ManualClock
from support.log import Log

from dockgate_server.clock import SystemClock
from dockgate_server.supervision import Supervisor, TaskEnded


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_a_stop_ends_the_wait() -> None:
    """The tasks are cancelled when the supervisor is left."""
    stop = asyncio.Event()
    cancelled: list[str] = []

    async def runs() -> None:
        try:
            await _forever()
        except asyncio.CancelledError:
            cancelled.append("runs")
            raise

    async with Supervisor() as supervisor:
        supervisor.start("runs", runs())
        asyncio.get_running_loop().call_soon(stop.set)
        await asyncio.wait_for(supervisor.wait(stop), 5)
    assert cancelled == ["runs"]


async def test_a_task_that_dies_ends_the_wait_with_its_reason(log: Log) -> None:
    """By name, and with the exception as cause; its traceback is in the log, once."""

    async def dies() -> None:
        raise ValueError("a\nbug")

    async with Supervisor() as supervisor:
        supervisor.start("dispatcher", dies())
        supervisor.start("other", _forever())
        with pytest.raises(TaskEnded, match="the task 'dispatcher' has ended") as ended:
            await asyncio.wait_for(supervisor.wait(asyncio.Event()), 5)
    assert str(ended.value) == "the task 'dispatcher' has ended: ValueError: a bug"
    assert isinstance(ended.value.__cause__, ValueError)
    assert log == [
        {
            "event": "part_ended",
            "log_level": "critical",
            "task": "dispatcher",
            "exc_info": ended.value.__cause__,
        }
    ]


async def test_a_task_that_returns_has_died_too(log: Log) -> None:
    """Silence is the worst failure."""

    async def returns() -> None:
        pass

    async with Supervisor() as supervisor:
        supervisor.start("bridge", returns())
        with pytest.raises(TaskEnded) as ended:
            await asyncio.wait_for(supervisor.wait(asyncio.Event()), 5)
    assert ended.value.__cause__ is None
    assert [(one["event"], one["task"]) for one in log] == [("part_ended", "bridge")]


async def test_a_task_of_somebody_else_is_watched_but_not_ended() -> None:
    """The store's writer must outlive the others."""
    writer = asyncio.create_task(_forever(), name="store-writer")
    async with Supervisor() as supervisor:
        supervisor.watch(writer)
    assert not writer.cancelled()
    async with Supervisor() as supervisor:
        supervisor.watch(writer)
        writer.cancel()
        with pytest.raises(TaskEnded, match="store-writer"):
            await asyncio.wait_for(supervisor.wait(asyncio.Event()), 5)


async def test_leaving_waits_until_the_tasks_have_ended() -> None:
    """Also one that dies while it is being cancelled; leaving does not hide what went on."""
    finished = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await _forever()
        finally:
            await asyncio.sleep(0)
            finished.set()
            raise RuntimeError("while ending")

    async def leaves_in_a_hurry() -> None:
        async with Supervisor() as supervisor:
            supervisor.start("slow", slow_to_end())
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await leaves_in_a_hurry()
    assert finished.is_set()


def test_a_manual_clock_makes_calls_in_the_order_of_their_time() -> None:
    """At their time on both clocks; cancelled ones not at all."""
    clock = ManualClock(now_ms=1000)
    calls: list[tuple[str, float, int]] = []

    def call(name: str) -> None:
        calls.append((name, clock.monotonic(), clock.now_ms()))

    clock.call_at(3, lambda: call("c"))
    clock.call_at(1, lambda: call("a"))
    clock.call_at(2, lambda: call("never")).cancel()
    clock.call_at(1, lambda: (call("b"), clock.call_at(1.5, lambda: call("nested")))[0])
    clock.call_at(-5, lambda: call("overdue"))
    clock.advance(2.5)
    clock.step_wall_clock(-100)
    clock.advance(0.5)
    assert calls == [
        ("overdue", 0, 1000),
        ("a", 1, 2000),
        ("b", 1, 2000),
        ("nested", 1.5, 2500),
        ("c", 3, 4000 - 100_000),
    ]


async def test_the_system_clock_agrees_with_the_event_loop() -> None:
    """What is arranged for now is called."""
    clock = SystemClock()
    called = asyncio.Event()
    clock.call_at(clock.monotonic(), called.set)
    await asyncio.wait_for(called.wait(), 5)
    assert clock.now_ms() > 1_600_000_000_000
