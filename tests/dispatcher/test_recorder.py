"""Facts are recorded in the order in which they happened, also where the store fails one."""

import asyncio
from typing import Any

import pytest
from support.clock import ManualClock

from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.errors import unavailable
from dockgate_server.model.transitions import ConfirmDelivery, Expire


class ScriptedStore:
    """Keeps what it is asked; the test answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, asyncio.Future[Any]]] = []

    @property
    def facts(self) -> list[Any]:
        """What it was asked, in that order."""
        return [fact for fact, _ in self.asked]

    def apply(self, fact: Any) -> "asyncio.Future[Any]":
        """Take a fact, to be answered by the test."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.append((fact, future))
        return future

    def take(self, number: int) -> None:
        """Record one."""
        self.asked[number][1].set_result(())

    def fail(self, number: int, error: Exception | None = None) -> None:
        """Fail one."""
        self.asked[number][1].set_exception(error or unavailable("database is locked"))


FIRST, SECOND, THIRD = ConfirmDelivery("a", 1), Expire(("a",), 2), Expire(("b",), 3)


@pytest.fixture
def store() -> ScriptedStore:
    """One that has been asked nothing yet."""
    return ScriptedStore()


@pytest.fixture
def clock() -> ManualClock:
    """Moves when told."""
    return ManualClock()


@pytest.fixture
def recorder(store: ScriptedStore, clock: ManualClock) -> Recorder:
    """Records there."""
    return Recorder(store, clock)  # type: ignore[arg-type]


async def test_what_happens_in_the_same_turn_as_a_failure_waits_behind_it(
    recorder: Recorder, store: ScriptedStore, clock: ManualClock
) -> None:
    """The recorder has not been told of the failure yet, and the store would take the next one."""
    recorder.record(FIRST)
    store.fail(0)
    recorder.record(SECOND)
    await asyncio.sleep(0)
    assert store.facts == [FIRST]
    clock.advance(1)
    assert store.facts == [FIRST, FIRST, SECOND]


async def test_what_happens_while_nothing_is_taken_waits_behind_what_has_failed(
    recorder: Recorder, store: ScriptedStore, clock: ManualClock
) -> None:
    """Else a deadline would end a command whose answer came in time."""
    recorder.record(FIRST)
    store.fail(0)
    await asyncio.sleep(0)
    recorder.record(SECOND)
    assert store.facts == [FIRST]
    clock.advance(1)
    assert store.facts == [FIRST, FIRST, SECOND]


async def test_what_happens_behind_one_that_failed_alone_waits_too(
    recorder: Recorder, store: ScriptedStore, clock: ManualClock
) -> None:
    """The store had been given the one between them already, and has taken it."""
    recorder.record(FIRST)
    recorder.record(SECOND)
    store.fail(0)
    store.take(1)
    await asyncio.sleep(0)
    recorder.record(THIRD)
    assert store.facts == [FIRST, SECOND]
    clock.advance(1)
    assert store.facts == [FIRST, SECOND, FIRST, THIRD]


async def test_facts_that_fail_together_stay_in_order_with_what_happens_in_the_same_turn(
    recorder: Recorder, store: ScriptedStore, clock: ManualClock
) -> None:
    """Also when they fail again."""
    recorder.record(FIRST)
    recorder.record(SECOND)
    for number in (0, 2):
        store.fail(number)
        store.fail(number + 1)
        if number == 0:
            recorder.record(THIRD)
        else:
            store.fail(4)
        await asyncio.sleep(0)
        clock.advance(1)
    assert store.facts == [FIRST, SECOND] + 2 * [FIRST, SECOND, THIRD]


async def test_a_fact_that_a_bug_keeps_from_being_recorded_holds_up_nobody(
    recorder: Recorder, store: ScriptedStore
) -> None:
    """Neither in the same turn nor later."""
    then = []
    recorder.record(FIRST, lambda: then.append(FIRST))
    store.fail(0, ValueError("a bug"))
    recorder.record(SECOND)
    await asyncio.sleep(0)
    recorder.record(THIRD)
    assert store.facts == [FIRST, SECOND, THIRD]
    assert then == [FIRST]


async def test_what_is_to_follow_a_fact_waits_until_it_is_recorded(
    recorder: Recorder, store: ScriptedStore, clock: ManualClock
) -> None:
    """However often it fails."""
    then = []
    recorder.record(FIRST, lambda: then.append(1))
    store.fail(0)
    recorder.record(SECOND, lambda: then.append(2))
    await asyncio.sleep(0)
    clock.advance(1)
    assert then == []
    store.take(1)
    store.take(2)
    await asyncio.sleep(0)
    assert then == [1, 2]
    recorder.record(THIRD)
    assert store.facts[-1] == THIRD
