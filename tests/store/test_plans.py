"""How SQLite finds what is asked for where there may be a million commands: by an index."""

from collections.abc import Mapping

import pytest

from dockgate_server.store.sqlite import SqliteStore
from dockgate_server.store.sqlite.queries import COMMANDS, SECRETS, SOURCES

VALUES = {
    "tenant": "default",
    "asking_id": "dock-001",
    "gateway_id": "dock-001",
    "device_id": "",
    "targets": '[["dock-001","drone-001"]]',
    "command_type": "",
    "flight_id": "flight",
    "statuses": '["ACCEPTED"]',
    "after": 0,
    "before": 1 << 62,
    "limit": 10,
}


async def steps(store: SqliteStore, query: str) -> list[str]:
    """What SQLite does to the table of commands."""
    plan = await store._db.all(f"EXPLAIN QUERY PLAN {query}", VALUES)
    return [row[3] for row in plan if " command " in row[3]]


@pytest.mark.parametrize(
    ("queries", "name", "index"),
    [
        (SOURCES, "newest_of_gateway", "command_job (gateway_id=? AND job_key>?)"),
        (SOURCES, "newest_of_flight", "command_job (gateway_id=? AND job_key=?)"),
        (COMMANDS, "list_open_commands", "command_open (seq<?)"),
        (COMMANDS, "open_commands", "command_open (seq>?)"),
        (COMMANDS, "open_places", "command_open"),
        (SECRETS, "sealed_commands", "command_open"),
    ],
)
async def test_a_question_about_few_commands_does_not_walk_over_all(
    store: SqliteStore, queries: Mapping[str, str], name: str, index: str
) -> None:
    """Everybody who reads waits for whoever walks: there is one connection for reading."""
    (step,) = await steps(store, queries[name])
    assert step.endswith(f"USING INDEX {index}")
