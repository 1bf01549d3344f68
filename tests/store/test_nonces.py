"""Nonces: what is signed once is carried out once."""

import asyncio

import pytest
from support.records import NOW, an_accept

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.command import CommandFilter
from dockgate_server.model.transitions import Accept, Accepted, Nonce
from dockgate_server.store.sqlite import SqliteStore


async def test_a_nonce_is_used_once_for_each_key(store: SqliteStore) -> None:
    """Until it can no longer be replayed; also when two come at once."""
    twice = await asyncio.gather(*(store.use_nonce(Nonce("id-1", "n", NOW)) for _ in range(2)))
    assert twice == [True, False]
    assert await store.use_nonce(Nonce("id-2", "n", NOW + 1))
    many = [Nonce("id-3", f"n-{number % 15}", NOW) for number in range(50)]
    used = await asyncio.gather(*(store.use_nonce(one) for one in many))
    assert used == [True] * 15 + [False] * 35
    await store.forget_nonces(NOW)
    assert not await store.use_nonce(Nonce("id-1", "n", NOW))
    await store.forget_nonces(NOW + 1)
    assert await store.use_nonce(Nonce("id-1", "n", NOW + 9))
    assert not await store.use_nonce(Nonce("id-2", "n", NOW + 9))


def signed(text: str, key: str | None = None) -> Accept:
    """A submission that came with a nonce."""
    return an_accept(key, nonce=Nonce("id-1", text, NOW))


async def keys(store: SqliteStore) -> int:
    """How many commands there are."""
    page = await store.list_commands("default", CommandFilter(), None, 100)
    return len(page.commands)


async def test_a_command_uses_its_nonce_up_in_the_same_transaction(store: SqliteStore) -> None:
    """A copy of its request is refused and leaves nothing, whatever key it has."""
    assert not (await store.accept(signed("n", "one"))).replayed
    assert not await store.use_nonce(Nonce("id-1", "n", NOW))
    for key in ("one", "another"):
        with pytest.raises(DockgateError) as refused:
            await store.accept(signed("n", key))
        assert refused.value.reason is Reason.NONCE_REPLAYED
    assert await keys(store) == 1


async def test_a_repetition_uses_its_nonce_up_as_well(store: SqliteStore) -> None:
    """It is answered with the command from before, once for each nonce."""
    await store.accept(signed("n-1", "key"))
    assert (await store.accept(signed("n-2", "key"))).replayed
    with pytest.raises(DockgateError):
        await store.accept(signed("n-2", "key"))


async def test_of_copies_at_once_one_is_carried_out(store: SqliteStore) -> None:
    """They mostly come in one transaction; those beside them are not touched."""
    copies = [signed("same", f"copy-{number}") for number in range(5)]
    others = [signed(f"own-{number}") for number in range(20)]
    plain = [an_accept() for _ in range(3)]
    submitted = [*copies[:2], *others, *copies[2:], *plain]
    answers = await asyncio.gather(*map(store.accept, submitted), return_exceptions=True)
    accepted = [one for one in answers if isinstance(one, Accepted)]
    keys_of = [new.idempotency_key for new in (copies[0], *others, *plain)]
    by_key = {new.id: new.idempotency_key for new in submitted}
    assert sorted(by_key[one.command.id] for one in accepted) == sorted(keys_of)
    refused = [one for one in answers if isinstance(one, DockgateError)]
    assert [one.reason for one in refused] == [Reason.NONCE_REPLAYED] * 4
    assert await keys(store) == len(accepted)
