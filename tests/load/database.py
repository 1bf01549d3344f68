"""A database as an earlier life of the gateway has left it, and what has become of it since."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from support.records import CHARGE_OPEN, SETUP_ABORT, an_accept

from dockgate_server.model.transitions import Accept, ConfirmDelivery
from dockgate_server.store.sqlite import SqliteStore

PROBE: Final = "dock-that-answers"
"""The only gateway device that answers; the others take what they are sent and say nothing."""

_AT_ONCE = 2000
_DELIVERED, _MAYBE_SENT = 0.25, 0.30
"""Of the commands to each gateway: the first ones are with it, the next may have been sent."""


@dataclass(frozen=True, slots=True)
class Left:
    """A command that is to be found at the start."""

    accept: Accept
    delivered: bool = False


def now_ms() -> int:
    """UTC in milliseconds since 1970, as the store has it."""
    return time.time_ns() // 1_000_000


def gateway(number: int) -> str:
    """The name of a silent dock."""
    return f"dock-{number:03}"


def mixture(commands: int, gateways: int, deadline_at: int) -> Iterator[Left]:
    """Open commands of every kind, in turn to all gateways: delivered, perhaps sent, unsent."""
    for number in range(commands):
        place = number // gateways / (commands / gateways)
        # Every other one may be sent again: whatever its place, if nothing went out behind it.
        command_type = CHARGE_OPEN if number // gateways % 2 else SETUP_ABORT
        yield Left(
            _accept(
                gateway(number % gateways),
                deadline_at,
                command_type=command_type,
                sending=place < _MAYBE_SENT,
            ),
            delivered=place < _DELIVERED,
        )


def unsent(commands: int, deadline_at: int) -> Iterator[Left]:
    """Commands to one dock, whose deadlines fall together."""
    for _ in range(commands):
        yield Left(_accept(gateway(0), deadline_at))


async def fill(file: Path, left: Sequence[Left], done: Callable[[int], None]) -> None:
    """Make the database, with all these accepted in this order."""
    async with SqliteStore(file) as store:
        for first in range(0, len(left), _AT_ONCE):
            changes: list[asyncio.Future[Any]] = []
            for one in left[first : first + _AT_ONCE]:
                changes.append(store.accept(one.accept))
                if one.delivered:
                    confirmed = ConfirmDelivery(one.accept.id, one.accept.accepted_at + 1)
                    changes.append(store.apply(confirmed))
            await asyncio.gather(*changes)
            done(first + _AT_ONCE)


def delivered(file: Path) -> int:
    """How many commands wait for the answers of their docks."""
    return int(_rows(file, "SELECT count(*) FROM command WHERE status = 'DELIVERED'")[0][0])


def still_open(file: Path, newest: int) -> int:
    """How many of the first so many commands have not ended."""
    # As the index of the open ones has it, and no bound values where that has none: so it is quick.
    query = "SELECT count(*) FROM command WHERE status IN ('ACCEPTED', 'DELIVERED') AND seq <= ?"
    return int(_rows(file, query, newest)[0][0])


def failure_codes(file: Path, newest: int) -> dict[str, int]:
    """How often the first so many commands have each failure code."""
    query = "SELECT failure_code, count(*) FROM command WHERE seq <= ? GROUP BY failure_code"
    return dict(_rows(file, query, newest))


def count_events(file: Path) -> int:
    """How many events of devices are stored."""
    return int(_rows(file, "SELECT count(*) FROM device_event")[0][0])


def _rows(file: Path, query: str, *values: int) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return db.execute(query, values).fetchall()


def _accept(gateway_id: str, deadline_at: int, **changed: Any) -> Accept:
    # Accepted as late as its timeout allows; that of the one to be found expired has passed.
    accepted_at = min(now_ms(), deadline_at - 1000)
    return an_accept(
        device_id=gateway_id,
        gateway_id=gateway_id,
        accepted_at=accepted_at,
        deadline_at=deadline_at,
        timeout_seconds=300,
        **changed,
    )
