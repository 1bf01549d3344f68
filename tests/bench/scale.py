"""What many stored commands cost: reading beside a few, starting on those that are open."""

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from load import database

from bench import http2
from bench.plan import IN_FLIGHT, Plan, Result, Wanted
from bench.stage import DOCKS, gateway, subfolder
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.store.sqlite import SqliteStore

GET: Final = "/dockgate.downlink.v1.CommandService/GetCommand"
LIST: Final = "/dockgate.downlink.v1.CommandService/ListCommands"
_CALLS: Final = 3000
_PAGES: Final = 300
_IDLE: Final = Wanted(at_most=round(90e6 / 2**20, 1))
"""90 MB, in MiB as everything here."""


async def measure(plan: Plan, folder: Path, result: Result) -> None:
    """A gateway on few commands beside one on many; then one that finds many open."""
    ids, folders = [], []
    for stored in (plan.few_stored, plan.stored):
        folders.append(subfolder(folder, f"stored-{stored}"))
        ids.append(await _ended(folders[-1] / "dockgate.db", stored))
    few: tuple[list[float], list[float]] = ([], [])
    many: tuple[list[float], list[float]] = ([], [])
    # Both at once and by turns: a machine that is shared is never as fast as a minute ago.
    async with gateway(folders[0]) as beside_few, gateway(folders[1]) as beside_many:
        for _ in range(plan.rounds):
            for stage, known, (gets, lists) in (
                (beside_few, ids[0], few),
                (beside_many, ids[1], many),
            ):
                gets.append(await _microseconds(stage.server.address, GET, _gets(known)))
                lists.append(await _microseconds(stage.server.address, LIST, _lists()))
    among = f"among {plan.stored:,}"
    beside = f"among {plan.few_stored:,}"
    result.show(f"GetCommand {among}", many[0], "µs", (beside, few[0]), Wanted(at_most=1.2))
    name = f"ListCommands of a device, first page, {among}"
    result.show(name, many[1], "µs", (beside, few[1]), Wanted(at_most=2.0))


async def starts(plan: Plan, folder: Path, result: Result) -> None:
    """How long a start takes, and what the gateway has in memory then."""
    seconds, memories = [], []
    for number in range(plan.rounds):
        async with gateway(subfolder(folder, f"start-{number}")) as stage:
            seconds.append(stage.ready_seconds)
            memories.append(await stage.memory_mib())
    result.show("start to serving", seconds, "s", wanted=Wanted(at_most=1.5))
    result.show("memory when idle", memories, "MiB", wanted=_IDLE)
    full = subfolder(folder, "open")
    # Docks that are not there: nothing is sent, all of them wait.
    deadline_at = database.now_ms() + 290_000
    left = list(database.mixture(plan.open_commands, 100, deadline_at))
    await database.fill(full / "dockgate.db", left, lambda _: None)
    async with gateway(full) as stage:
        name = f"start to serving with {plan.open_commands:,} open commands"
        result.show(name, stage.ready_seconds, "s", wanted=Wanted(at_most=5))
        result.show("memory with them", await stage.memory_mib(), "MiB")


async def _ended(file: Path, count: int) -> Sequence[str]:
    """Make a database with so many ended commands of all docks; answers with some of their ids.

    The first one is made as the gateway makes it, the others are its copies without its events:
    these are read by watches alone.
    """
    async with SqliteStore(file) as store:
        accept = next(database.unsent(1, database.now_ms() + 60_000)).accept
        await store.accept(accept)
    return await asyncio.to_thread(_copied, file, count)


def _copied(file: Path, count: int) -> Sequence[str]:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(command)")]
        # Spread like real ids, so that their index is no better than it would be.
        new_id = (
            "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || hex(randomblob(8)))"
        )
        changed = {
            "seq": "number.value + 1",
            "id": new_id,
            "idempotency_key": "'bench-' || number.value",
            "device_id": f"printf('dock-%03d', number.value % {len(DOCKS)} + 1)",
            "gateway_id": f"printf('dock-%03d', number.value % {len(DOCKS)} + 1)",
            "status": "'SUCCEEDED'",
            "completed_at": "accepted_at + 5",
            "completion_basis": "'DEVICE_REPLY'",
        }
        values = ", ".join(changed.get(column, column) for column in columns)
        db.execute("PRAGMA synchronous = OFF")
        db.execute(
            "WITH RECURSIVE number (value) AS "
            f"(VALUES (1) UNION ALL SELECT value + 1 FROM number WHERE value < {count}) "
            f"INSERT INTO command ({', '.join(columns)}) "
            f"SELECT {values} FROM number CROSS JOIN command WHERE command.seq = 1"
        )
        # Ended as well: nothing is to be found open at the start.
        db.execute(
            "UPDATE command SET status = 'SUCCEEDED', completed_at = accepted_at + 5, "
            "completion_basis = 'DEVICE_REPLY', revision = revision + 1 WHERE seq = 1"
        )
        newest = "SELECT id FROM command ORDER BY seq DESC LIMIT 1"
        some = db.execute(f"SELECT id FROM command WHERE seq % {max(1, count // 5000)} = 0")
        return [row[0] for row in some] or [db.execute(newest).fetchone()[0]]


def _gets(ids: Sequence[str]) -> list[bytes]:
    chosen = random.Random(1).choices(ids, k=_CALLS)
    return [pb.GetCommandRequest(command_id=one).SerializeToString() for one in chosen]


def _lists() -> list[bytes]:
    return [
        pb.ListCommandsRequest(device_id=DOCKS[number % len(DOCKS)]).SerializeToString()
        for number in range(_PAGES)
    ]


async def _microseconds(address: str, path: str, messages: Sequence[bytes]) -> float:
    seconds = await http2.calls(address, path, messages, IN_FLIGHT)
    return 1e6 * seconds / len(messages)
