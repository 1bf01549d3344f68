"""API keys: made, sealed, listed, rotated, disabled."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock

from dockgate_server import sealing
from dockgate_server.access.forms import InvalidField
from dockgate_server.access.keys import CannotRotate, Keys, NewKey, UnknownKey
from dockgate_server.access.opening import CACHE_SECONDS, NEW_SECONDS
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.sealing import SealingKey, SealingProblem
from dockgate_server.store.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "dockgate.db") as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(store: SqliteStore, tmp_path: Path, clock: ManualClock) -> Keys:
    return Keys(store, tmp_path / "sealing.key", clock)


async def test_new_key_can_be_opened_again_by_another_process(
    keys: Keys, store: SqliteStore, tmp_path: Path
) -> None:
    """`dockgate keys create` and the server share the database and the key file, no more."""
    new = await keys.create("for the test", tenant="one")
    opened = await Keys(store, tmp_path / "sealing.key", ManualClock()).open(new.key.api_id)
    assert opened is not None
    assert opened.secrets == (new.secret.encode(),)
    assert (opened.caller.tenant, opened.caller.principal) == ("one", new.key.api_id)


async def test_keys_are_long_random_and_never_alike(keys: Keys) -> None:
    """A secret has 32 random bytes behind its prefix."""
    made = [await keys.create() for _ in range(3)]
    assert len({one.secret for one in made}) == len({one.key.api_id for one in made}) == 3
    for one in made:
        assert one.key.api_id.startswith("dk_")
        assert len(one.secret.removeprefix("dks_")) == 43


async def test_secret_shows_neither_in_the_database_nor_in_a_repr(
    keys: Keys, store: SqliteStore, tmp_path: Path
) -> None:
    """Who reads the database, or a log, can sign nothing."""
    new = await keys.create()
    opened = await keys.open(new.key.api_id)
    with closing(sqlite3.connect(tmp_path / "dockgate.db")) as database, database:
        dump = repr(database.execute("SELECT * FROM credential").fetchall())
    database.close()
    shown = dump + repr(new) + repr(opened) + repr(await keys.list())
    assert new.key.api_id in shown
    assert new.secret not in shown


async def test_list_shows_every_key_with_its_dates(keys: Keys) -> None:
    """Disabled keys stay in the list, so that the record stays whole."""
    first = await keys.create("first")
    second = await keys.create("second")
    await keys.disable(second.key.api_id)
    listed = {key.label: key for key in await keys.list()}
    assert listed["first"] == first.key
    assert listed["second"].disabled_at == ManualClock().now_ms()


async def test_disabled_key_cannot_be_opened(keys: Keys) -> None:
    """Disabling is for good, and doing it twice is no error."""
    new = await keys.create()
    assert await keys.disable(new.key.api_id)
    assert not await keys.disable(new.key.api_id)
    assert await keys.open(new.key.api_id) is None
    with pytest.raises(UnknownKey, match="dk_nobody"):
        await keys.disable("dk_nobody")


@pytest.mark.parametrize("label", ["x" * 101, "line\nbreak", "\x1b[31m"])
async def test_label_that_would_spoil_a_list_is_refused(keys: Keys, label: str) -> None:
    """Labels are printed on terminals."""
    with pytest.raises(ValueError, match="printable"):
        await keys.create(label)


async def test_a_caller_has_what_its_key_was_made_with(keys: Keys) -> None:
    """Tenant, scopes, devices: whatever transport it comes by."""
    new = await keys.create(
        "all of it", "north", {Scope.READ}, ["dock-*", "SN-1", "dock-*"], "planner.example.com"
    )
    caller = Caller("north", new.key.api_id, frozenset({Scope.READ}), ("dock-*", "SN-1"))
    for opened in (
        await keys.open(new.key.api_id),
        await keys.open_by_certificate("planner.example.com"),
    ):
        assert opened is not None
        assert opened.caller == caller
        assert opened.holds(new.secret.encode())
        assert not opened.holds(b"")
    assert (new.key.tenant, new.key.devices) == ("north", ("dock-*", "SN-1"))
    assert list(await keys.list()) == [new.key]


async def test_one_certificate_stands_for_one_key_in_use(keys: Keys) -> None:
    """Or nobody could say who calls; a disabled key sets the name free."""
    first = await keys.create(client_certificate="planner")
    with pytest.raises(InvalidField, match="another API key"):
        await keys.create(client_certificate="planner")
    assert len(await keys.list()) == 1
    assert await keys.open_by_certificate("Planner") is None
    await keys.disable(first.key.api_id)
    assert await keys.open_by_certificate("planner") is None
    second = await keys.create(client_certificate="planner")
    opened = await keys.open_by_certificate("planner")
    assert opened is not None
    assert opened.caller.principal == second.key.api_id


async def test_a_rotated_key_has_two_secrets_until_one_is_ended(
    keys: Keys, clock: ManualClock
) -> None:
    """The newer stays after --finish, the older after --undo."""
    first = await keys.create()
    api_id = first.key.api_id
    clock.advance(60)
    second = await keys.rotate(api_id)
    assert second.secret != first.secret
    assert (second.key.secret_at, second.key.older_secret_at) == (
        first.key.created_at + 60_000,
        first.key.created_at,
    )
    assert await _secrets(keys, api_id) == {first.secret, second.secret}
    undone = await keys.undo_rotation(api_id)
    assert (undone.secret_at, undone.older_secret_at) == (first.key.created_at, None)
    assert await _secrets(keys, api_id) == {first.secret}
    third = await keys.rotate(api_id)
    finished = await keys.finish_rotation(api_id)
    assert (finished.secret_at, finished.older_secret_at) == (third.key.secret_at, None)
    assert await _secrets(keys, api_id) == {third.secret}


async def _secrets(keys: Keys, api_id: str) -> set[str]:
    opened = await keys.open(api_id)
    assert opened is not None
    return {secret.decode() for secret in opened.secrets}


async def test_what_cannot_be_rotated_is_told_what_to_do(keys: Keys) -> None:
    """Nothing is changed."""
    key = (await keys.create()).key
    for ending in (keys.finish_rotation, keys.undo_rotation):
        with pytest.raises(CannotRotate, match="one secret only"):
            await ending(key.api_id)
    rotated = await keys.rotate(key.api_id)
    with pytest.raises(CannotRotate, match="--finish"):
        await keys.rotate(key.api_id)
    assert list(await keys.list()) == [rotated.key]
    await keys.disable(key.api_id)
    for change in (keys.rotate, keys.finish_rotation, keys.undo_rotation):
        with pytest.raises(CannotRotate, match="is disabled"):
            await change(key.api_id)
        with pytest.raises(UnknownKey, match="dk_nobody"):
            await change("dk_nobody")


async def test_of_two_that_rotate_at_once_one_is_refused(keys: Keys, store: SqliteStore) -> None:
    """Or the first one's new secret would be gone before anybody used it."""
    key = (await keys.create()).key
    done = await asyncio.gather(
        keys.rotate(key.api_id), keys.rotate(key.api_id), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["CannotRotate", "NewKey"]
    (held,) = (one for one in done if isinstance(one, NewKey))
    assert held.secret in await _secrets(keys, key.api_id)


async def test_neither_of_two_secrets_shows_in_the_database(keys: Keys, tmp_path: Path) -> None:
    """The older one is gone from its row when it is ended."""
    first = await keys.create()
    second = await keys.rotate(first.key.api_id)
    with closing(sqlite3.connect(tmp_path / "dockgate.db")) as database, database:
        dump = repr(database.execute("SELECT * FROM credential").fetchall())
        assert first.secret not in dump
        assert second.secret not in dump
        await keys.finish_rotation(first.key.api_id)
        rows = database.execute("SELECT older_secret, older_secret_at FROM credential").fetchall()
    database.close()
    assert rows == [(None, None)]


async def test_what_is_opened_is_remembered_for_a_moment(
    keys: Keys, store: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    """By ID and by certificate; a change that another process makes counts when it is over."""
    key = (await keys.create(client_certificate="planner")).key
    assert await keys.open(key.api_id) is await keys.open(key.api_id)
    assert await keys.open_by_certificate("planner") is not None
    other = Keys(store, tmp_path / "sealing.key", clock)
    await other.disable(key.api_id)
    clock.advance(CACHE_SECONDS - 0.001)
    assert await keys.open(key.api_id) is not None
    assert await keys.open_by_certificate("planner") is not None
    clock.advance(0.001)
    assert await keys.open(key.api_id) is None
    assert await keys.open_by_certificate("planner") is None


def counted(
    store: SqliteStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Any, ...]]:
    """The questions of one kind that the store is asked from now on."""
    asked: list[Any] = []
    read = getattr(store, name)

    async def noted(*arguments: Any) -> Any:
        asked.append(arguments)
        return await read(*arguments)

    monkeypatch.setattr(store, name, noted)
    return asked


async def test_whoever_guesses_does_not_make_the_database_work(
    keys: Keys, store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read a second, however many are guessed; and no guess is kept in memory."""
    disabled = (await keys.create(client_certificate="gone")).key.api_id
    await keys.disable(disabled)
    reads = counted(store, "usable_credentials", monkeypatch)
    single = counted(store, "get_credential", monkeypatch)
    by_name = counted(store, "get_credential_of_certificate", monkeypatch)
    for _ in range(2):
        for number in range(50):
            assert await keys.open(f"dk_{number}") is None
            assert await keys.open_by_certificate(f"name-{number}") is None
        guesses = [keys.open(f"dk_{number}") for number in range(50)]
        assert await asyncio.gather(*guesses, keys.open(disabled)) == [None] * 51
        assert await keys.open_by_certificate("gone") is None
        clock.advance(NEW_SECONDS)
    assert (len(reads), single, by_name) == (2, [], [])
    assert keys._opening._by_id == keys._opening._by_certificate == {}


async def test_whoever_guesses_at_a_secret_does_not_make_the_database_work(
    keys: Keys, store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is looked at anew once a second, however often none of its secrets fits."""
    api_id = (await keys.create()).key.api_id
    assert await keys.open(api_id) is not None
    reads = counted(store, "get_credential", monkeypatch)
    for number in range(3):
        assert None not in await asyncio.gather(*(keys.open_anew(api_id) for _ in range(50)))
        assert len(reads) == number
        clock.advance(NEW_SECONDS)


async def test_a_key_that_another_process_makes_is_good_after_a_second(
    keys: Keys, store: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    """Although its ID was guessed, or used too early, just before."""
    assert await keys.open("dk_0") is None
    other = Keys(store, tmp_path / "sealing.key", clock)
    new = (await other.create(client_certificate="planner")).key
    clock.advance(NEW_SECONDS - 0.001)
    assert await keys.open(new.api_id) is None
    assert await keys.open_by_certificate("planner") is None
    clock.advance(0.001)
    assert await keys.open(new.api_id) is not None
    assert await keys.open_by_certificate("planner") is not None


async def test_a_key_that_this_process_makes_is_good_at_once(keys: Keys) -> None:
    """Nobody has to wait for what it knows itself."""
    assert await keys.open("dk_0") is None
    new = (await keys.create(client_certificate="planner")).key
    assert await keys.open(new.api_id) is not None
    assert await keys.open_by_certificate("planner") is not None


async def test_those_who_guess_do_not_hold_up_a_key_in_use(
    keys: Keys, store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there, so nobody asks again which there are."""
    new = (await keys.create()).key
    assert await keys.open(new.api_id) is not None
    reads = counted(store, "usable_credentials", monkeypatch)
    clock.advance(CACHE_SECONDS)
    assert await keys.open(new.api_id) is not None
    assert reads == []


async def test_key_file_is_made_for_its_owner_alone(keys: Keys, tmp_path: Path) -> None:
    """The file appears with the first API key and not before."""
    await keys.check()
    assert not (tmp_path / "sealing.key").exists()
    await keys.create()
    assert (tmp_path / "sealing.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "sealing.key").stat().st_size == 32


async def test_missing_key_file_is_not_replaced_when_there_are_keys(
    keys: Keys, store: SqliteStore, tmp_path: Path
) -> None:
    """A new sealing key would open nothing and hide that the old one is gone."""
    await keys.create()
    (tmp_path / "sealing.key").unlink()
    again = Keys(store, tmp_path / "sealing.key", ManualClock())
    for attempt in (again.check(), again.create()):
        with pytest.raises(SealingProblem, match="is missing"):
            await attempt
    assert not (tmp_path / "sealing.key").exists()


async def test_another_sealing_key_is_noticed_at_start(
    keys: Keys, store: SqliteStore, tmp_path: Path
) -> None:
    """A server that could check no request does not begin to serve."""
    await keys.create()
    sealing.make_key(tmp_path / "other.key")
    with pytest.raises(SealingProblem, match="was not sealed"):
        await Keys(store, tmp_path / "other.key", ManualClock()).check()
    await keys.check()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_key_file_of_the_wrong_size_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is most likely another file."""
    file = tmp_path / "sealing.key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(SealingProblem, match="exactly 32 bytes"):
        sealing.read_key(file)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The problem says how to put it right."""
    file = tmp_path / "sealing.key"
    file.write_bytes(b"x" * 32)
    file.chmod(mode)
    with pytest.raises(SealingProblem, match="chmod 600"):
        sealing.read_key(file)


def test_key_file_that_cannot_be_read_or_written_is_one_clear_line(tmp_path: Path) -> None:
    """The problem names the file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(SealingProblem, match="folder"):
        sealing.read_key(folder)
    (tmp_path / "file").touch()
    with pytest.raises(SealingProblem, match="cannot write"):
        sealing.make_key(tmp_path / "file" / "sealing.key")


def test_of_two_that_make_the_key_file_both_use_the_first(tmp_path: Path) -> None:
    """Server and command line may start at the same moment."""
    file = tmp_path / "sealing.key"
    sealed = sealing.make_key(file).seal("dk_1", "secret")
    assert sealing.make_key(file).unseal("dk_1", sealed) == "secret"
    assert list(tmp_path.iterdir()) == [file]


def test_sealed_secret_is_worth_nothing_elsewhere_or_damaged() -> None:
    """It opens under its own API ID, whole, with its own key."""
    key = SealingKey(b"k" * 32)
    sealed = key.seal("dk_1", "secret")
    assert key.unseal("dk_1", sealed) == "secret"
    assert key.seal("dk_1", "secret") != sealed
    wrong = [
        (SealingKey(b"o" * 32), "dk_1", sealed),
        (key, "dk_2", sealed),
        (key, "dk_1", sealed[:-1]),
        (key, "dk_1", b"\x09" + sealed[1:]),
        (key, "dk_1", sealed[:5]),
        (key, "dk_1", b""),
    ]
    for with_key, api_id, what in wrong:
        with pytest.raises(SealingProblem):
            with_key.unseal(api_id, what)


async def test_a_key_that_was_disabled_is_asked_for_no_more(
    keys: Keys, store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on with it does not make the database work for each try."""
    api_id = (await keys.create()).key.api_id
    assert await keys.open(api_id) is not None
    await store.disable_credential(api_id, clock.now_ms(), None)
    clock.advance(CACHE_SECONDS)
    assert await keys.open(api_id) is None
    reads = counted(store, "get_credential", monkeypatch)
    assert [await keys.open(api_id) for _ in range(10)] == [None] * 10
    assert reads == []
    assert keys._opening._by_id == {}


async def test_a_key_is_remembered_from_before_it_was_read(
    keys: Keys, store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed while the database was slow counts no later for that."""
    api_id = (await keys.create()).key.api_id
    read = store.get_credential

    async def slow(api_id: str) -> Any:
        found = await read(api_id)
        clock.advance(1)
        return found

    monkeypatch.setattr(store, "get_credential", slow)
    assert await keys.open(api_id) is not None
    await store.disable_credential(api_id, clock.now_ms(), None)
    clock.advance(CACHE_SECONDS - 1)
    assert await keys.open(api_id) is None


async def test_all_who_ask_at_once_cost_one_read(
    keys: Keys, store: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of watches of a key look at the same moment whether it is still good."""
    new = await keys.create()
    reads = counted(store, "get_credential", monkeypatch)
    for _ in range(2):
        opened = await asyncio.gather(*(keys.open(new.key.api_id) for _ in range(100)))
        assert all(one is opened[0] is not None for one in opened)
        clock.advance(CACHE_SECONDS)
    assert len(reads) == 2
