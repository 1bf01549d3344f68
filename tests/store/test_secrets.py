"""Secrets in the database: sealed while a command is open, gone when it has ended."""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.clock import ManualClock
from support.records import NOW, a_reply, an_accept, begin_sending
from support.vault import SEALING_KEY, VAULT

from dockgate_server import sealing
from dockgate_server.model.command import Command, FailureCode
from dockgate_server.model.device_request import NewRequest, Reply, ReplySource, Routing
from dockgate_server.model.transitions import Cancel, CompleteSend, Expire, RecordReply, Refuse
from dockgate_server.sealing import Resealing, SealingKey, SealingProblem, Vault
from dockgate_server.store.interface import Credential
from dockgate_server.store.sqlite import SqliteStore, backup, migrations

OTHER_KEY = SealingKey(b"another sealing key of the tests")
LIVE = {
    "url_type": 1,
    "url": "rtmp://host/live/hush-1",
    "video_id": "1/39-0-7/normal-0",
}
KEPT = b'{"url_type":1,"url":null,"video_id":"1/39-0-7/normal-0"}'
ENDS: dict[str, Callable[[str], Any]] = {
    "cancelled": lambda one: Cancel(one, NOW + 1),
    "refused": lambda one: Refuse(one, FailureCode.DEVICE_OFFLINE, "away", NOW + 1),
    "sent": lambda one: CompleteSend(one, NOW + 1),
    "expired": lambda one: Expire((one,), NOW + 30_000),
    "answered": lambda one: RecordReply(a_reply(one)),
    "failed": lambda one: RecordReply(a_reply(one, {"result": 1})),
    "answered oddly": lambda one: RecordReply(a_reply(one, {"result": "odd"})),
}


async def accepted(store: SqliteStore, **changed: Any) -> Command:
    """An open command with a secret."""
    command_id = str(uuid.uuid4())
    values = {
        "id": command_id,
        "command_type": "live_start_push",
        "data": KEPT,
        "sealed": VAULT.seal(command_id, orjson.dumps(LIVE)),
        **changed,
    }
    return (await store.accept(an_accept(**values))).command


async def now(store: SqliteStore, command_id: str) -> Command:
    """The command as it is now."""
    command = await store.get_command("default", command_id)
    assert command is not None
    return command


def files(folder: Path) -> bytes:
    """Everything that is in a folder."""
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


async def test_an_open_command_can_be_sent_whole_after_a_restart(database: Path) -> None:
    """What is read at the start has all that sending it needs, and a list shows none of it."""
    async with SqliteStore(database) as store:
        command = await accepted(store)
    async with SqliteStore(database) as store:
        (found,) = [one async for chunk in store.open_commands() for one in chunk]
        assert found.sealed is not None
        assert found.data == KEPT
        assert orjson.loads(VAULT.unseal(command.id, found.sealed)) == LIVE
        assert "sealed" not in repr(found)


@pytest.mark.parametrize("end", ENDS)
async def test_every_way_of_ending_wipes_the_secrets(store: SqliteStore, end: str) -> None:
    """In the transaction that ends the command."""
    command = await accepted(store)
    assert (await now(store, command.id)).sealed is not None
    assert await store.apply(ENDS[end](command.id))
    assert (await now(store, command.id)).sealed is None


async def test_many_that_expire_together_are_wiped(store: SqliteStore) -> None:
    """A deadline can end hundreds at once."""
    ids = tuple([(await accepted(store)).id for _ in range(5)])
    await store.apply(Expire(ids, NOW + 30_000))
    assert [(await now(store, one)).sealed for one in ids] == [None] * 5


async def test_the_database_refuses_an_end_that_wipes_nothing(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """A way of ending that somebody adds later cannot forget it."""
    await accepted(store)
    with pytest.raises(sqlite3.IntegrityError, match="only_open_is_sealed"):
        raw.execute(
            "UPDATE command SET status = 'SUCCEEDED', completion_basis = 'LOCAL_SEND', "
            "completed_at = 1, revision = revision + 1"
        )


async def test_what_is_removed_leaves_no_trace_in_the_file(database: Path) -> None:
    """Free space is overwritten: a sealed secret is gone, not only out of sight."""
    folder = database.parent
    async with SqliteStore(database) as store:
        command = await accepted(store)
        sealed = command.sealed
        assert sealed is not None
    assert sealed in files(folder)
    async with SqliteStore(database) as store:
        await store.apply(Refuse(command.id, FailureCode.DEVICE_OFFLINE, "away", NOW + 1))
    assert sealed not in files(folder)


async def test_a_backup_holds_nothing_sealed(database: Path, tmp_path: Path) -> None:
    """Its open commands have ended, and answers that were to be sent are gone."""
    copies = tmp_path / "copies"
    copies.mkdir()
    async with SqliteStore(database) as store:
        command = await accepted(store)
        await begin_sending(store, (await accepted(store)).id)
        backup.take(database, copies / "monday.db", ManualClock(), lambda *_: None)
    assert command.sealed is not None
    assert command.sealed not in files(copies)
    async with SqliteStore(copies / "monday.db") as restored:
        assert (await now(restored, command.id)).sealed is None


async def filled(store: SqliteStore) -> tuple[str, str]:
    """Something of everything that is sealed; the command's id and the request's."""
    await store.secrets.keep_key(
        sealing.DIGESTS, sealing.new_kept_key(SEALING_KEY, sealing.DIGESTS)
    )
    keys = [SEALING_KEY.seal("dk_1", one) for one in ("newer", "older")]
    credential = Credential("dk_1", "default", "", "", keys[0], NOW)
    await store.add_credential(credential)
    await store.rotate_credential("dk_1", keys[1], NOW)
    gone = Credential("dk_2", "default", "", "", b"sealed with a lost key", NOW)
    await store.add_credential(gone)
    await store.disable_credential("dk_2", NOW)
    command = await accepted(store)
    request = await asked(store)
    reply = Reply(0, "", ReplySource.MANUAL, b"{}", True, "ann", NOW)
    await store.requests.answer(request, reply, VAULT.seal(request, b"hush"))
    return command.id, request


async def asked(store: SqliteStore) -> str:
    """A request of a device that waits."""
    tid = str(uuid.uuid4())
    new = NewRequest(tid, "dock-001", "config", tid, "b", b"{}", Routing.INBOX, NOW, NOW + 40_000)
    return (await store.requests.record(new, None)).id


async def opens_with(store: SqliteStore, key: SealingKey, command: str, request: str) -> bool:
    """Whether everything opens with the key; if not, then nothing does."""
    vault = Vault(key, b"")
    kept = (await store.secrets.kept_keys())[sealing.DIGESTS]
    credential = await store.get_credential("dk_1")
    (unsent,) = await store.requests.unsent()
    sealed = (await now(store, command)).sealed
    assert credential is not None
    assert credential.older_secret is not None
    assert sealed is not None
    older, newer = credential.older_secret, credential.sealed_secret
    opening: list[Callable[[], object]] = [
        lambda: sealing.open_kept_key(key, sealing.DIGESTS, kept),
        lambda: key.unseal("dk_1", older),
        lambda: key.unseal("dk_1", newer),
        lambda: vault.unseal(command, sealed),
        lambda: vault.unseal(request, unsent[1]),
    ]
    outcomes = set()
    for opened in opening:
        try:
            opened()
        except SealingProblem:
            outcomes.add(False)
        else:
            outcomes.add(True)
    (outcome,) = outcomes
    return outcome


async def test_resealing_changes_the_key_of_everything(store: SqliteStore) -> None:
    """What it was before is what it is after; only a key nobody can use any more is left out."""
    which = await filled(store)
    before = (await store.secrets.kept_keys())[sealing.DIGESTS]
    assert await opens_with(store, SEALING_KEY, *which)
    assert await store.secrets.reseal(Resealing(SEALING_KEY, OTHER_KEY)) == 4
    assert not await opens_with(store, SEALING_KEY, *which)
    assert await opens_with(store, OTHER_KEY, *which)
    after = (await store.secrets.kept_keys())[sealing.DIGESTS]
    digests = sealing.open_kept_key(SEALING_KEY, sealing.DIGESTS, before)
    assert sealing.open_kept_key(OTHER_KEY, sealing.DIGESTS, after) == digests
    assert (await now(store, which[0])).revision == 1


async def test_resealing_that_fails_changes_nothing(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """The last of many secrets is damaged: all the others still open with the old key."""
    which = await filled(store)
    damaged = await asked(store)
    reply = Reply(0, "", ReplySource.MANUAL, b"{}", True, "ann", NOW)
    await store.requests.answer(damaged, reply, b"damaged")
    with pytest.raises(SealingProblem, match="damaged"):
        await store.secrets.reseal(Resealing(SEALING_KEY, OTHER_KEY))
    raw.execute("DELETE FROM device_request WHERE id = ?", (damaged,))
    assert await opens_with(store, SEALING_KEY, *which)


async def test_a_wrong_old_key_reseals_nothing(store: SqliteStore) -> None:
    """It is not the one with which the database was sealed."""
    which = await filled(store)
    with pytest.raises(SealingProblem):
        await store.secrets.reseal(Resealing(OTHER_KEY, SealingKey(b"3" * 32)))
    assert await opens_with(store, SEALING_KEY, *which)


CREDENTIALS = {"access_key_id": "hush-2", "access_key_secret": "hush-3", "security_token": "hush-4"}
UPLOAD = {"bucket": "b", "credentials": CREDENTIALS}


def old_database(path: Path) -> None:
    """A database of the version before secrets were sealed, with secrets wherever they can be."""
    told = json.dumps({"result": 0, "output": {"password": "hush-5"}}).encode()
    commands = [
        ("open", "fileupload_start", "DELIVERED", json.dumps(UPLOAD)),
        ("ended", "live_start_push", "SUCCEEDED", json.dumps(LIVE)),
        ("raw", "brand_new_method", "SUCCEEDED", '{"token":"hush-6","a":1}'),
        ("plain", "flighttask_prepare", "SUCCEEDED", '{"file":{"url":"https://f/a?signed"}}'),
    ]
    db = sqlite3.connect(path, isolation_level=None)
    for number, file in enumerate(migrations.known()[:7], start=1):
        db.executescript(file)
        db.execute(f"PRAGMA user_version = {number}")
    db.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
    for seq, (name, method, status, data) in enumerate(commands, start=1):
        db.execute(
            "INSERT INTO command (id, tenant, principal, vendor, device_id, gateway_id, channel,"
            " command_type, data, timeout_seconds, accepted_at, deadline_at, status, revision,"
            " updated_at, sending_at, delivered_at, completed_at, completion_basis,"
            " vendor_response, idempotency_key, content_hash) VALUES (?, 'default', 'p', 'dji',"
            " 'd', 'g', 'services', ?, ?, 30, 1, 2, ?, 1, 1, 1, 1, ?, ?, ?, ?, ?)",
            (name, method, data.encode(), status)
            + ((1, "DEVICE_REPLY") if status == "SUCCEEDED" else (None, None))
            + (told, name, b"a hash"),
        )
        state = b'{"status":"%s","vendor_response":%s}' % (status.encode(), told)
        db.execute(
            "INSERT INTO command_event (command_seq, revision, kind, occurred_at, state, reply,"
            " note) VALUES (?, 1, 'ACCEPTED', 1, ?, ?, '')",
            (seq, state, told),
        )
    for data in (told, b'{"password":"hush-7", and not JSON'):
        db.execute(
            "INSERT INTO unmatched_response (gateway_id, tid, method, reason, data, received_at)"
            " VALUES ('g', 't', 'm', 'r', ?, 1)",
            (data,),
        )
    db.execute(
        "INSERT INTO device_event (tenant, gateway_id, method, tid, bid, need_reply, data,"
        " received_at) VALUES ('default', 'g', 'm', 't', 'b', 0, ?, 1)",
        (told,),
    )
    db.execute(
        "INSERT INTO device_request (id, tenant, gateway_id, request_type, tid, bid, payload,"
        " routing, received_at, expires_at, status, replied_at, outgoing) VALUES ('r', 'default',"
        " 'g', 'config', 't', 'b', 'null', 'INBOX', 1, 2, 'REPLIED', 1, ?)".replace(
            "'null'", "CAST('null' AS BLOB)"
        ),
        (b'{"app_key":"hush-8"}',),
    )
    # What was removed long ago, from a file that did not overwrite it.
    db.execute("PRAGMA secure_delete = OFF")
    db.execute("CREATE TABLE gone (data BLOB)")
    db.executemany("INSERT INTO gone VALUES (?)", [(b"hush-9" * 500,)] * 5)
    db.execute("DROP TABLE gone")
    db.close()


async def test_the_secrets_of_an_older_version_are_taken_out_once(database: Path) -> None:
    """Of commands, events, replies and answers, and from the file's free space."""
    old_database(database)
    assert all(f"hush-{number}".encode() in files(database.parent) for number in range(1, 10))
    async with SqliteStore(database) as store:
        assert await store.secrets.clean(VAULT)
        assert b"hush-" not in files(database.parent)
        open_one = await now(store, "open")
        assert open_one.sealed is not None
        assert orjson.loads(VAULT.unseal("open", open_one.sealed)) == UPLOAD
        assert orjson.loads(open_one.data) == {
            "bucket": "b",
            "credentials": dict.fromkeys(CREDENTIALS),
        }
        assert [(await now(store, one)).data for one in ("ended", "raw", "plain")] == [
            KEPT,
            b'{"token":null,"a":1}',
            b'{"file":{"url":"https://f/a?signed"}}',
        ]
        assert (await now(store, "ended")).sealed is None
        assert (await now(store, "ended")).vendor_response == b'{"result":0,"output":{}}'
        ((_, outgoing),) = await store.requests.unsent()
        assert VAULT.unseal("r", outgoing) == b'{"app_key":"hush-8"}'
        assert [one.revision for one in await store.events_of_all_commands(0, 10)] == [1] * 4
        hashes = {
            one: found.content_hash
            for one in ("open", "ended", "raw", "plain")
            if (found := await store.find_accepted("default", one)) is not None
        }
        keyed = VAULT.digest(b"a hash")
        assert hashes == {"open": keyed, "ended": keyed, "raw": keyed, "plain": b"a hash"}
        assert not await store.secrets.clean(VAULT)


async def test_cleaning_that_was_interrupted_is_done_again(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the tables and the free space of the file: the next start does both."""
    old_database(database)

    def crash(db: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("the disk is full")

    async with SqliteStore(database) as store:
        with monkeypatch.context() as patched:
            patched.setattr("dockgate_server.store.sqlite.secrets._rewrite", crash)
            with pytest.raises(sqlite3.OperationalError):
                await store.secrets.clean(VAULT)
        sealed = (await now(store, "open")).sealed
    async with SqliteStore(database) as store:
        assert await store.secrets.clean(VAULT)
        assert (await now(store, "open")).sealed == sealed
    assert b"hush-" not in await asyncio.to_thread(files, database.parent)


async def test_a_new_database_has_nothing_to_clean(store: SqliteStore) -> None:
    """And a kept key stays the one it was."""
    assert not await store.secrets.clean(VAULT)
    await store.secrets.keep_key("p", b"first")
    await store.secrets.keep_key("p", b"second")
    assert dict(await store.secrets.kept_keys()) == {"p": b"first"}


async def test_the_file_is_written_anew_by_way_of_a_file(database: Path) -> None:
    """The copy is as large as the database, which memory may not hold."""
    old_database(database)
    async with SqliteStore(database) as store:
        statements: list[str] = []
        await store._writer._connection.set_trace_callback(statements.append)
        assert await store.secrets.clean(VAULT)
    at = statements.index("VACUUM")
    assert statements[at - 1] == "PRAGMA temp_store = FILE"
    assert statements.index("PRAGMA temp_store = MEMORY") > at
