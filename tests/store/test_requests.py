"""The record of the requests of devices: bounded, and of the right tenant."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.clock import ManualClock

from dockgate_server.model.device import Topology
from dockgate_server.model.device_request import (
    DeviceRequest,
    NewRequest,
    Reply,
    ReplySource,
    RequestFilter,
    RequestStatus,
    Routing,
)
from dockgate_server.store.sqlite import SqliteStore, backup, migrations, requests
from dockgate_server.store.sqlite.database import LARGEST_PAGE

NEW = NewRequest("r-1", "dock-001", "config", "t1", "b1", b"null", Routing.INBOX, 1000, 41_000)
REPLY = Reply(0, "", ReplySource.MANUAL, b'{"result":0}', False, "tests", 2000)


def _new(number: int) -> NewRequest:
    return replace(NEW, id=f"r-{number}", tid=f"t{number}")


async def _ids(store: SqliteStore, tenant: str = "default") -> list[str]:
    page = await store.requests.list(tenant, RequestFilter(), None, 100)
    return [one.id for one in page.requests]


async def test_the_oldest_that_are_closed_go(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits or is unsent stays, however old it is."""
    monkeypatch.setattr(requests, "REQUESTS_KEPT", 2)
    await store.requests.record(_new(1), REPLY)
    await store.requests.record(_new(2), None)
    await store.requests.record(_new(3), None)
    await store.requests.answer("r-3", REPLY, b"{}")
    for number in (4, 5, 6):
        await store.requests.record(_new(number), REPLY)
    assert await _ids(store) == ["r-6", "r-5", "r-3", "r-2"]
    await store.requests.sent("r-3")
    await store.requests.record(_new(7), REPLY)
    assert await _ids(store) == ["r-7", "r-6", "r-2"]


async def test_a_request_belongs_to_the_tenant_of_the_device(
    store: SqliteStore, raw: sqlite3.Connection
) -> None:
    """Of a device that is not known, to the default one."""
    await store.devices.save_topology("default", Topology("dock-001", "3-2-0", (), 1))
    raw.execute("UPDATE device SET tenant = 'another'")
    await store.requests.record(_new(1), None)
    await store.requests.record(replace(_new(2), gateway_id="dock-002"), None)
    assert (await _ids(store, "another"), await _ids(store)) == (["r-1"], ["r-2"])


async def test_each_change_is_told_once(store: SqliteStore) -> None:
    """And what changed nothing is not."""
    told: list[DeviceRequest] = []
    store.requests.on_change = told.append
    await store.requests.record(_new(1), None)
    assert await store.requests.answer("r-1", REPLY, b"{}") is not None
    assert await store.requests.answer("r-1", REPLY, b"{}") is None
    assert await store.requests.expire("r-1") is None
    await store.requests.sent("r-1")
    await store.requests.record(_new(2), None)
    await store.requests.expire("r-2")
    assert await store.requests.not_sent("r-2") is None
    statuses = [(one.id, one.status) for one in told]
    assert statuses == [
        ("r-1", RequestStatus.PENDING),
        ("r-1", RequestStatus.REPLIED),
        ("r-2", RequestStatus.PENDING),
        ("r-2", RequestStatus.EXPIRED),
    ]


async def test_a_backup_has_closed_what_was_open(
    store: SqliteStore, database: Path, tmp_path: Path
) -> None:
    """And knows nothing of what was still to be sent."""
    await store.requests.record(_new(1), None)
    await store.requests.record(_new(2), None)
    await store.requests.answer("r-2", REPLY, b'{"token":"hush-hush"}')
    await store.requests.record(_new(3), REPLY)
    copy = tmp_path / "copy.db"
    backup.take(database, copy, ManualClock(), lambda doing, share: None)
    assert b"hush-hush" not in copy.read_bytes()
    async with SqliteStore(copy) as restored:
        page = await restored.requests.list("default", RequestFilter(), None, 100)
        assert [one.status for one in page.requests] == [
            RequestStatus.REPLIED,
            RequestStatus.EXPIRED,
            RequestStatus.EXPIRED,
        ]
        assert await restored.requests.unsent() == []


async def test_a_repetition_finds_the_request(store: SqliteStore) -> None:
    """Unless it has expired: the device that still asks begins a new one."""
    recorded = await store.requests.record(replace(_new(1), repeat_key=b"key"), None)
    await store.requests.record(_new(2), None)
    assert await store.requests.find(b"key") == recorded
    assert await store.requests.find(b"another") is None
    await store.requests.expire("r-1")
    assert await store.requests.find(b"key") is None
    await store.requests.record(replace(_new(3), repeat_key=b"key"), None)


async def test_requests_without_a_key_may_have_all_in_common(store: SqliteStore) -> None:
    """Of several that wait none is taken for another one."""
    for number in (1, 2):
        await store.requests.record(replace(NEW, id=f"r-{number}"), None)
    assert await _ids(store) == ["r-2", "r-1"]


async def test_what_is_still_to_be_sent_is_found_after_a_restart(store: SqliteStore) -> None:
    """With what was sealed of it."""
    await store.requests.record(replace(_new(1), repeat_key=b"key"), None)
    answered = await store.requests.answer("r-1", REPLY, b"sealed")
    assert await store.requests.unsent() == [(answered, b"sealed")]


def test_requests_from_before_there_were_keys_go_on_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have none, so a repetition of one is a request of its own."""
    with closing(sqlite3.connect(tmp_path / "dockgate.db", isolation_level=None)) as connection:
        files = migrations.known()
        monkeypatch.setattr(migrations, "known", lambda: files[:9])
        migrations.migrate(connection)
        connection.execute(
            "INSERT INTO device_request (id, tenant, gateway_id, request_type, tid, bid, payload, "
            "routing, received_at, expires_at, status) VALUES ('r-1', 'default', 'dock-001', "
            "'config', 't1', 'b1', x'', 'INBOX', 1, 2, 'PENDING')"
        )
        monkeypatch.setattr(migrations, "known", lambda: files)
        migrations.migrate(connection)
        found = connection.execute("SELECT id, status, repeat_key FROM device_request").fetchall()
    assert found == [("r-1", "PENDING", None)]


async def test_a_page_of_large_requests_has_fewer_of_them(store: SqliteStore) -> None:
    """What devices wrote and what they were answered count alike."""
    large = b'"' + b"x" * (LARGEST_PAGE // 4) + b'"'
    for number in range(4):
        await store.requests.record(
            replace(_new(number), payload=large), replace(REPLY, shown=large)
        )
    seen: list[list[str]] = []
    before = None
    while not seen or before is not None:
        page = await store.requests.list("default", RequestFilter(), before, 100)
        seen.append([one.id for one in page.requests])
        before = page.next_before
    assert seen == [["r-3"], ["r-2"], ["r-1"], ["r-0"]]
