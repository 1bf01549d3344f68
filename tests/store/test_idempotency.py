"""One key, one command: per tenant, for ever, whoever comes first."""

import asyncio
from pathlib import Path

import pytest
from support.records import a_reply, an_accept

from dockgate_server.model.command import CommandEvent, CommandFilter, Status
from dockgate_server.model.transitions import RecordReply
from dockgate_server.store.sqlite import SqliteStore


async def test_a_known_key_gives_the_first_command_as_first_answered(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Whatever has become of it since; nothing new is stored, no event is told."""
    first = await store.accept(an_accept("k", sending=True))
    await store.apply(RecordReply(a_reply(first.command.id)))
    known = len(told)
    again = await store.accept(an_accept("k", content_hash=b"other", accepted_at=1, sending=True))
    assert again.replayed
    assert again.command == first.command
    assert again.command.status is Status.ACCEPTED
    assert again.content_hash == b"the content"
    assert len(told) == known


async def test_of_many_at_once_one_is_new(store: SqliteStore) -> None:
    """In one group of the writer, and over several."""
    answers = await asyncio.gather(*(store.accept(an_accept("k")) for _ in range(20)))
    assert [answer.replayed for answer in answers] == [False] + [True] * 19
    assert len({answer.command.id for answer in answers}) == 1
    page = await store.list_commands("default", CommandFilter(), None, 100)
    assert len(page.commands) == 1


async def test_a_key_belongs_to_its_tenant(store: SqliteStore) -> None:
    """Two tenants may use the same one."""
    mine = await store.accept(an_accept("k"))
    yours = await store.accept(an_accept("k", tenant="other"))
    assert not yours.replayed
    found = await store.find_accepted("other", "k")
    assert found is not None
    assert found.command == yours.command != mine.command
    assert await store.find_accepted("nobody", "k") is None


async def test_a_key_is_remembered_over_a_restart(database: Path) -> None:
    """With the content, so that a conflict is still one."""
    async with SqliteStore(database) as store:
        first = await store.accept(an_accept("k"))
    async with SqliteStore(database) as store:
        found = await store.find_accepted("default", "k")
        assert found is not None
        assert (found.command, found.content_hash) == (first.command, b"the content")
        assert found.replayed
        assert (await store.accept(an_accept("k"))).command == first.command


@pytest.mark.parametrize("key", ["", "ä\x00\U0001f681", "x" * 255, "'; DROP TABLE command; --"])
async def test_any_text_can_be_a_key(store: SqliteStore, key: str) -> None:
    """The caller chooses it."""
    first = await store.accept(an_accept(idempotency_key=key))
    assert (await store.accept(an_accept(idempotency_key=key))).command.id == first.command.id
