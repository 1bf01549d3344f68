"""Changes of many commands in one statement: as if each had been made by itself."""

import sqlite3
from itertools import pairwise

import pytest
from support.records import NOW, a_reply, an_accept, ledger

from dockgate_server.errors import DockgateError
from dockgate_server.model.command import CommandEvent, EventKind, Status
from dockgate_server.model.transitions import BeginSending, ConfirmDelivery, Expire, RecordReply
from dockgate_server.store.sqlite import SqliteStore, transaction
from dockgate_server.store.sqlite.queries import AT_ONCE


async def test_events_are_numbered_in_the_order_asked(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """However the changes are sorted for the database; and the record says the same."""
    one, two, three = (an_accept(device_id=name, sending=True) for name in ("one", "two", "three"))
    store.accept(one)
    store.apply(RecordReply(a_reply(one.id)))
    store.accept(two)
    store.apply(ConfirmDelivery(one.id, NOW + 1))  # the answer has overtaken it
    store.apply(ConfirmDelivery(two.id, NOW + 1))
    store.accept(three)
    store.apply(RecordReply(a_reply(two.id)))
    await store.apply(ConfirmDelivery(three.id, NOW + 2))
    said = [(event.command.device_id, event.kind.value) for event in told]
    assert said == [
        *(("one", "ACCEPTED"), ("one", "SENDING"), ("one", "REPLIED")),
        *(("two", "ACCEPTED"), ("two", "SENDING"), ("two", "DELIVERED")),
        *(("three", "ACCEPTED"), ("three", "SENDING")),
        *(("two", "REPLIED"), ("three", "DELIVERED")),
    ]
    assert all(before.seq + 1 == after.seq for before, after in pairwise(told))
    assert await store.events_of_all_commands(0, 100) == told


async def test_more_than_a_statement_takes(store: SqliteStore, told: list[CommandEvent]) -> None:
    """Every size of statement is used, and none of the commands is mixed up with another."""
    count = 2 * AT_ONCE[0] + AT_ONCE[1] + 2
    news = [an_accept(device_id=str(number)) for number in range(count)]
    asked = [store.accept(new) for new in news]
    asked += [store.accept(news[5]), store.accept(an_accept("last"))]
    accepted = [await one for one in asked]
    assert [one.replayed for one in accepted] == [*[False] * count, True, False]
    assert accepted[count].command == accepted[5].command
    ids = tuple(new.id for new in news)
    await store.apply(BeginSending(ids, NOW + 1))
    for new in news:
        store.apply(RecordReply(a_reply(new.id, {"result": int(new.device_id)})))
    assert await store.apply(Expire(ids, NOW + 2)) == ()
    ends = [event.command for event in told if event.kind is EventKind.REPLIED]
    assert [(end.device_id, end.response_code) for end in ends] == [
        (str(number), str(number)) for number in range(count)
    ]
    assert [await store.get_command("default", end.id) for end in ends] == ends


async def test_what_was_not_inserted_is_not_known(store: SqliteStore) -> None:
    """A reply to a command whose acceptance failed goes to the ledger."""
    bad = an_accept(timeout_seconds=0)
    with pytest.raises(sqlite3.IntegrityError):
        await store.accept(bad)
    assert await store.apply(RecordReply(a_reply(bad.id))) == ()
    assert [one.tid for one in await ledger(store)] == [bad.id]


async def test_a_command_that_is_not_at_hand_is_read(
    store: SqliteStore, told: list[CommandEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more open ones than the writer keeps at hand."""
    monkeypatch.setattr(transaction, "KNOWN_LIMIT", 1)
    news = [an_accept(device_id=str(number), sending=True) for number in range(3)]
    for new in news:
        store.accept(new)
    for new in news:
        store.apply(ConfirmDelivery(new.id, NOW + 1))
    for new in news:
        await store.apply(RecordReply(a_reply(new.id)))
    ends = [event.command for event in told if event.command.status is Status.SUCCEEDED]
    assert [end.device_id for end in ends] == ["0", "1", "2"]
    assert [await store.get_command("default", end.id) for end in ends] == ends


async def test_no_more_commands_are_at_hand_than_there_is_room_for(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are open."""
    monkeypatch.setattr(transaction, "KNOWN_LIMIT", 2)
    for _ in range(7):
        await store.accept(an_accept())
        assert len(store._writer._known) <= 2


async def test_what_was_taken_back_is_not_known(store: SqliteStore) -> None:
    """A reply to a command whose transaction failed behind its insertion goes to the ledger."""
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fails(_: object) -> None:
        raise full

    new = an_accept()
    accepting, failing = store.accept(new), store._writer.submit(fails)
    for refused in (accepting, failing):
        with pytest.raises(DockgateError, match="nothing was accepted"):
            await refused
    assert await store.apply(RecordReply(a_reply(new.id))) == ()
    assert [one.tid for one in await ledger(store)] == [new.id]
