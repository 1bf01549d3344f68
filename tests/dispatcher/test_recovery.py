"""After a crash: what was accepted is sent once, or ends in a status that says why."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.records import CHARGE_OPEN, NOW, SETUP_ABORT, an_accept, in_status
from support.rig import Start

from dockgate_server.dispatcher.window import WINDOW
from dockgate_server.model.command import EventKind, FailureCode, Status
from dockgate_server.store.sqlite import SqliteStore


@pytest.fixture
async def left_behind(tmp_path: Path) -> dict[str, str]:
    """The commands that a gateway left behind which was killed, by what is known of them."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        unsent = await store.accept(an_accept())
        perhaps = await store.accept(an_accept(sending=True))
        overtaken = await store.accept(an_accept(sending=True, command_type=CHARGE_OPEN))
        return {
            "unsent": unsent.command.id,
            "perhaps sent": perhaps.command.id,
            "perhaps sent, safe, others sent behind it": overtaken.command.id,
            "delivered": (await in_status(store, Status.DELIVERED)).id,
            "delivered, safe": (
                await in_status(store, Status.DELIVERED, command_type=CHARGE_OPEN)
            ).id,
            "ended": (await in_status(store, Status.FAILED)).id,
            "perhaps sent, safe": (
                await store.accept(an_accept(sending=True, command_type=CHARGE_OPEN))
            ).command.id,
            "unsent, gone method": (
                await store.accept(an_accept(command_type="removed_since"))
            ).command.id,
        }


async def test_what_may_have_left_is_not_sent_again(
    start: Start, left_behind: dict[str, str]
) -> None:
    """Only what certainly has not, and what is safe and was the last, in the order accepted."""
    async with start() as rig:
        expected = [
            left_behind[which] for which in ("unsent", "perhaps sent, safe", "unsent, gone method")
        ]
        await rig.bridge.wait_published(3)
        await rig.settle()
        assert rig.sent() == expected
        assert rig.kinds(left_behind["unsent"]) == [EventKind.SENDING]
        assert rig.kinds(left_behind["perhaps sent, safe"]) == []


async def test_every_command_left_behind_ends_and_says_why(
    start: Start, left_behind: dict[str, str]
) -> None:
    """By the deadline of before the crash, whatever the monotonic clock says now."""
    clock = ManualClock(NOW + 20_000)
    clock.advance(0)
    async with start(ScriptedBridge(connected=False), clock) as rig:
        clock.advance(9.999)
        await rig.settle()
        assert (await rig.now(left_behind["delivered"])).status is Status.DELIVERED
        clock.advance(0.001)
        for which, code in {
            "unsent": FailureCode.DELIVERY_TIMEOUT,
            "perhaps sent": FailureCode.OUTCOME_UNKNOWN,
            "perhaps sent, safe": FailureCode.OUTCOME_UNKNOWN,
            "delivered": FailureCode.RESPONSE_TIMEOUT,
            "delivered, safe": FailureCode.RESPONSE_TIMEOUT,
        }.items():
            assert await rig.ended(left_behind[which]) == (Status.TIMED_OUT, code)
        rig.connect()
        await rig.settle()
        assert rig.sent() == []
        assert (await rig.now(left_behind["ended"])).revision == 3


async def test_a_deadline_that_passed_while_nobody_was_there_ends_the_command(
    start: Start, left_behind: dict[str, str]
) -> None:
    """At once, without a message."""
    async with start(clock=ManualClock(NOW + 3_600_000)) as rig:
        rig.clock.advance(0)
        assert await rig.ended(left_behind["unsent"]) == (
            Status.TIMED_OUT,
            FailureCode.DELIVERY_TIMEOUT,
        )
        await rig.settle()
        assert rig.sent() == []


async def test_an_answer_that_arrives_after_the_restart_counts(
    start: Start, left_behind: dict[str, str]
) -> None:
    """The broker kept it for us."""
    async with start() as rig:
        rig.reply(left_behind["perhaps sent"])
        rig.reply(left_behind["delivered"], {"result": 5001})
        assert await rig.ended(left_behind["perhaps sent"]) == (Status.SUCCEEDED, None)
        assert (await rig.ended(left_behind["delivered"]))[0] is Status.FAILED
        assert left_behind["perhaps sent"] not in rig.sent()


async def test_newcomers_do_not_overtake_what_was_left_behind(
    start: Start, left_behind: dict[str, str]
) -> None:
    """Order per gateway holds over a restart."""
    async with start(ScriptedBridge(connected=False)) as rig:
        new = await rig.accept()
        rig.connect()
        await rig.bridge.wait_published(4)
        assert rig.sent()[-1] == new


async def test_a_large_backlog_is_taken_up_in_order_within_the_window(
    start: Start, tmp_path: Path
) -> None:
    """No burst at the broker."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        asked = [store.accept(an_accept(str(number))) for number in range(WINDOW * 3)]
        ids = [(await future).command.id for future in asked]
    async with start() as rig:
        for rounds in (1, 2, 3):
            await rig.bridge.wait_published(WINDOW * rounds)
            await rig.settle()
            assert rig.sent() == ids[: WINDOW * rounds]
            for message in rig.bridge.published[WINDOW * (rounds - 1) :]:
                message.acknowledge()


@pytest.mark.parametrize("command_type", [SETUP_ABORT, CHARGE_OPEN])
async def test_a_second_crash_changes_nothing_about_that(start: Start, command_type: str) -> None:
    """The tid never changes, the intent is committed once."""
    async with start() as rig:
        command_id = await rig.accept(command_type=command_type)
    published = [rig.sent()]
    for _ in range(2):
        async with start(clock=ManualClock(NOW + 1)) as rig:
            await rig.settle()
            published.append(rig.sent())
            assert rig.kinds(command_id) == []
    again = [command_id] if command_type == CHARGE_OPEN else []
    assert published == [[command_id], again, again]


async def test_a_key_of_before_the_crash_publishes_nothing(start: Start) -> None:
    """The caller repeats the call because it got no answer."""
    async with start() as rig:
        first = await rig.accept("k")
    async with start() as rig:
        assert await rig.accept("k") == first
        await rig.settle()
        assert rig.sent() == []


async def test_what_was_sent_is_asked_once_however_much_has_expired(
    start: Start, left_behind: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a walk over all that was accepted since: a start would take as many as it has pages."""
    monkeypatch.setattr("dockgate_server.store.sqlite.store._RECOVERY_CHUNK", 1)
    clock = ManualClock(NOW + 3_600_000)
    asked: list[int] = []
    last_sent, in_chunks = SqliteStore.last_sent, SqliteStore._in_chunks

    async def counted(store: SqliteStore, from_seq: int) -> Sequence[tuple[str, str, int]]:
        asked.append(from_seq)
        return await last_sent(store, from_seq)

    async def expiring(store: SqliteStore, query: str) -> AsyncIterator[Any]:
        async for chunk in in_chunks(store, query):
            yield chunk
            clock.advance(0)
            await store.forget_nonces(0)  # what has expired meanwhile is recorded by then

    monkeypatch.setattr(SqliteStore, "last_sent", counted)
    monkeypatch.setattr(SqliteStore, "_in_chunks", expiring)
    async with start(clock=clock) as rig:
        assert (await rig.now(left_behind["delivered"])).status is Status.TIMED_OUT
    assert asked == [1]
