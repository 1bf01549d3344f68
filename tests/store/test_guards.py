"""The guard of each query by itself: none leans on the order in which Python asks."""

import json
import sqlite3
from typing import Any

import pytest
from support.records import NOW, in_status

from dockgate_server.model.command import Status
from dockgate_server.store.sqlite import SqliteStore
from dockgate_server.store.sqlite.queries import COMMANDS

OPEN = {Status.ACCEPTED, Status.DELIVERED}
ENDS = set(Status) - OPEN

HOLDS: dict[str, set[Status]] = {
    "begin_sending": set(),  # they have an intent already
    "take_back": {Status.ACCEPTED},
    "cancel": set(),  # they have been sent
    "confirm_delivery": {Status.ACCEPTED},
    "complete_send": {Status.ACCEPTED},
    "refuse": {Status.ACCEPTED},
    "expire": OPEN,
    "end_by_reply": OPEN,
    "end_unmatched": OPEN,
    # SUCCEEDED has its answer already.
    "record_late_reply": ENDS - {Status.SUCCEEDED},
    "note_reply": ENDS,
    "record_job": set(Status),
    "stall_job": {Status.SUCCEEDED},
}
"""On which status each guarded update may change a command that has been sent."""


VALUES: dict[str, Any] = {
    "at": NOW + 9_000,
    "status": "SUCCEEDED",
    "code": "DEVICE_OFFLINE",
    "reason": "why",
    "message": None,
    "data": b"{}",
    "job": None,
    "failure_code": None,
    "failure_reason": None,
    "response_timeout": "r",
    "outcome_unknown": "o",
    "delivery_timeout": "d",
    "limit": 100,
    "heard": None,
}
"""What the queries want beside the command."""


def test_every_guarded_update_is_listed() -> None:
    """A new query must join the table above."""
    assert set(HOLDS) == {name for name, sql in COMMANDS.items() if "UPDATE command" in sql}
    assert all("WHERE" in COMMANDS[name] and "RETURNING" in COMMANDS[name] for name in HOLDS)


@pytest.mark.parametrize("query", HOLDS)
async def test_a_guard_holds_on_these_statuses_only(
    store: SqliteStore, raw: sqlite3.Connection, query: str
) -> None:
    """No row back means that somebody else had decided."""
    held = set()
    for status in Status:
        command = await in_status(store, status)
        values = {**VALUES, "id": command.id, "seq": command.seq}
        values["ids"] = json.dumps([command.id])
        if raw.execute(COMMANDS[query], values).fetchall():
            held.add(status)
    assert held == HOLDS[query]
