"""The record as it stands in the file, read with SQLite alone and nothing of the server's."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from chaos.evidence import SeenEvent, Stored, View

_COMMANDS = """
SELECT seq, id, idempotency_key, device_id, gateway_id, command_type, data, timeout_seconds,
    offline_policy, accepted_at, deadline_at, revision, status, completion_basis, failure_code,
    completed_at
FROM command
"""
_EVENTS = """
SELECT c.id, e.revision, e.kind, e.state
FROM command_event AS e JOIN command AS c ON c.seq = e.command_seq
ORDER BY e.seq
"""


def count_events(file: Path) -> int:
    """How many events are recorded."""
    with _opened(file) as db:
        return int(db.execute("SELECT count(*) FROM command_event").fetchone()[0])


def read(file: Path) -> tuple[dict[str, Stored], list[SeenEvent]]:
    """Every command by its id, and every event in the order of recording."""
    with _opened(file) as db:
        (sound,) = db.execute("PRAGMA integrity_check").fetchone()
        assert sound == "ok", sound
        stored = {row["id"]: _stored(row) for row in db.execute(_COMMANDS)}
        return stored, [
            SeenEvent(row["id"], row["revision"], row["kind"], json.loads(row["state"])["status"])
            for row in db.execute(_EVENTS)
        ]


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        yield db


def _stored(row: sqlite3.Row) -> Stored:
    view = View(
        command_id=row["id"],
        revision=row["revision"],
        status=row["status"],
        basis=row["completion_basis"] or "",
        failure_code=row["failure_code"] or "",
        completed_at=row["completed_at"],
    )
    return Stored(
        seq=row["seq"],
        key=row["idempotency_key"],
        device_id=row["device_id"],
        gateway_id=row["gateway_id"],
        method=row["command_type"],
        data=json.loads(row["data"]),
        timeout_seconds=row["timeout_seconds"],
        offline_policy=row["offline_policy"],
        accepted_at=row["accepted_at"],
        deadline_at=row["deadline_at"],
        view=view,
    )
