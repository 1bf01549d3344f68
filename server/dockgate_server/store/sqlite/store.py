"""The store on SQLite: opening, reading, and handing changes to the one writer."""

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from dockgate_server import errors
from dockgate_server.model import transitions
from dockgate_server.model.command import Command, CommandEvent, CommandFilter
from dockgate_server.model.device import Device, Topology
from dockgate_server.store.interface import Credential, OnCommit, Page
from dockgate_server.store.sqlite import changes, migrations, rows
from dockgate_server.store.sqlite.queries import ACCESS, COMMANDS, DEVICES
from dockgate_server.store.sqlite.writer import Connection, GroupWriter, Transaction

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    # A commit is on the disk when it returns; NORMAL would lose accepted commands on power loss.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # `dockgate keys` writes to the same file while the server runs.
    "PRAGMA busy_timeout = 5000",
)
_RECOVERY_CHUNK = 1000

_log = structlog.get_logger(__name__)


class StoreProblem(Exception):
    """The database cannot be opened; the message says which one and why."""


class SqliteStore:
    """The record of every command, device and key in one SQLite file.

    Args:
        path: The database file; its folder is made if it is missing.
        on_commit: Is given the events of every commit, on the event loop.
        exclusive: Refuse to open a database on which another gateway is at work. Two would
            each send the commands that wait. False for tools such as ``dockgate keys``.
    """

    def __init__(
        self, path: Path, on_commit: OnCommit = lambda _: None, *, exclusive: bool = True
    ) -> None:
        self._path = path
        self._on_commit = on_commit
        self._exclusive = exclusive

    async def __aenter__(self) -> "SqliteStore":
        """Open the database, bring it to the current schema and start the writer.

        Raises:
            StoreProblem: It cannot be opened, written or understood, or is in use.
        """
        try:
            async with contextlib.AsyncExitStack() as opened:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                if self._exclusive:
                    opened.enter_context(_locked(self._path))
                # Payloads hold credentials: the file is for us alone, and SQLite makes its
                # companions with the same rights.
                self._path.touch(mode=0o600, exist_ok=True)
                writing = await opened.enter_async_context(_connect(self._path))
                await writing.run(_prepare)
                self._reading = await opened.enter_async_context(_connect(self._path))
                await self._reading.run(lambda db: db.execute("PRAGMA query_only = ON"))
                self._opened = opened.pop_all()
        except (sqlite3.Error, migrations.SchemaTooNew, OSError) as error:
            raise StoreProblem(f"cannot open the database {self._path}: {error}") from error
        self._writer = GroupWriter(writing, self._on_commit)
        self.writing = asyncio.create_task(self._writer.run(), name="store-writer")
        """The writer's task: whoever supervises the process watches that it does not die."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Make the changes that wait, then close."""
        self._writer.close()
        try:
            await self.writing
        finally:
            await self._opened.aclose()

    def accept(self, accept: transitions.Accept) -> asyncio.Future[transitions.Accepted]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._writer.submit(partial(_call, changes.accept, accept))

    def apply(self, transition: transitions.Transition) -> asyncio.Future[tuple[CommandEvent, ...]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._writer.submit(partial(_apply, transition))

    async def find_accepted(self, tenant: str, idempotency_key: str) -> transitions.Accepted | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        key = {"tenant": tenant, "idempotency_key": idempotency_key}
        row = await self._one(COMMANDS["get_command_by_key"], key)
        return None if row is None else changes.accepted(row, replayed=True)

    async def get_command(self, tenant: str, command_id: str) -> Command | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._one(COMMANDS["get_command"], {"tenant": tenant, "id": command_id})
        return None if row is None else rows.command(row)

    async def list_commands(
        self, tenant: str, which: CommandFilter, before: int | None, limit: int
    ) -> Page:
        """See :class:`~dockgate_server.store.interface.Store`."""
        query = "list_commands_of_device" if which.device_id else "list_commands"
        values = {
            "tenant": tenant,
            "device_id": which.device_id,
            "command_type": which.command_type,
            "statuses": json.dumps(which.statuses),
            "before": (1 << 62) if before is None else before,
            "limit": limit + 1,
        }
        found = [rows.command(row) for row in await self._all(COMMANDS[query], values)]
        more = len(found) > limit
        return Page(tuple(found[:limit]), found[limit - 1].seq if more else None)

    async def events_of_command(
        self, tenant: str, command_id: str, after_revision: int, limit: int
    ) -> Sequence[CommandEvent]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {"tenant": tenant, "id": command_id, "after": after_revision, "limit": limit}
        return await self._events(COMMANDS["events_of_command"], values)

    async def events_of_all_commands(self, after: int, limit: int) -> Sequence[CommandEvent]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {"after": after, "limit": limit}
        return await self._events(COMMANDS["events_of_all_commands"], values)

    async def newest_event_seq(self) -> int:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._one(COMMANDS["newest_event_seq"], {})
        return int(row[0]) if row else 0

    async def open_commands(self) -> AsyncIterator[Sequence[Command]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        after = 0
        while True:
            values = {"after": after, "limit": _RECOVERY_CHUNK}
            found = await self._all(COMMANDS["open_commands"], values)
            if not found:
                return
            yield [rows.command(row) for row in found]
            after = found[-1][0]

    async def sent_after(self, command: Command) -> bool:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {"seq": command.seq, "gateway_id": command.gateway_id}
        return await self._one(COMMANDS["sent_after"], values) is not None

    def record_unmatched(self, unmatched: transitions.Unmatched) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._writer.submit(partial(_call, changes.put_unmatched, unmatched))

    async def list_unmatched(self, limit: int) -> Sequence[transitions.Unmatched]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        found = await self._all(COMMANDS["list_unmatched"], {"limit": limit})
        return [transitions.Unmatched(*row) for row in found]

    def save_topology(self, tenant: str, topology: Topology) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        members = ((topology.gateway_id, topology.gateway_model), *topology.sub_devices)
        found = [
            {
                "id": serial_number,
                "tenant": tenant,
                "gateway_id": topology.gateway_id,
                "model": model,
                "seen_at": topology.seen_at,
            }
            for serial_number, model in members
        ]
        return self._execute(DEVICES["put_device"], *found)

    async def list_devices(self) -> Sequence[Device]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return [Device(*row) for row in await self._all(DEVICES["list_devices"], {})]

    def add_credential(self, credential: Credential) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {name: getattr(credential, name) for name in credential.__slots__}
        return self._execute(ACCESS["insert_credential"], values)

    def disable_credential(self, api_id: str, at: int) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._changed(ACCESS["disable_credential"], {"api_id": api_id, "at": at})

    async def get_credential(self, api_id: str) -> Credential | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._one(ACCESS["get_credential"], {"api_id": api_id})
        return None if row is None else Credential(*row)

    async def list_credentials(self) -> Sequence[Credential]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return [Credential(*row) for row in await self._all(ACCESS["list_credentials"], {})]

    def use_nonce(self, api_id: str, nonce: str, expires_at: int) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {"api_id": api_id, "nonce": nonce, "expires_at": expires_at}
        return self._changed(ACCESS["use_nonce"], values)

    def forget_nonces(self, now: int) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._execute(ACCESS["forget_nonces"], {"now": now})

    async def _all(self, query: str, values: dict[str, Any]) -> list[rows.Row]:
        try:
            return await self._reading.run(lambda db: db.execute(query, values).fetchall())
        except sqlite3.Error as error:
            _log.error("store_cannot_read", error=str(error))
            raise errors.unavailable("the store cannot be read") from error

    async def _one(self, query: str, values: dict[str, Any]) -> rows.Row | None:
        found = await self._all(query, values)
        return found[0] if found else None

    async def _events(self, query: str, values: dict[str, Any]) -> list[CommandEvent]:
        return [rows.event(row) for row in await self._all(query, values)]

    def _execute(self, query: str, *values: dict[str, Any]) -> asyncio.Future[None]:
        def change(tx: Transaction) -> None:
            tx.db.executemany(query, values)

        return self._writer.submit(change)

    def _changed(self, query: str, values: dict[str, Any]) -> asyncio.Future[bool]:
        def change(tx: Transaction) -> bool:
            return tx.db.execute(query, values).fetchone() is not None

        return self._writer.submit(change)


def _call(function: Any, argument: object, tx: Transaction) -> Any:
    return function(tx, argument)


def _apply(transition: transitions.Transition, tx: Transaction) -> tuple[CommandEvent, ...]:
    first = len(tx.events)
    changes.CHANGES[type(transition)](tx, transition)
    return tuple(tx.events[first:])


def _connect(path: Path) -> Connection:
    # Autocommit: the writer begins and ends its transactions itself.
    return Connection(lambda: sqlite3.connect(path, isolation_level=None), iter_chunk_size=64)


def _prepare(db: sqlite3.Connection) -> None:
    if sqlite3.sqlite_version_info < (3, 37):
        raise sqlite3.NotSupportedError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed"
        )
    for pragma in _PRAGMAS:
        db.execute(pragma)
    # Written once more: a file that cannot be written would open, and refuse every command later.
    db.execute(f"PRAGMA user_version = {migrations.migrate(db)}")
    rows.check_columns(db)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the database; the system frees it even when the process is killed."""
    with Path(f"{path}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise OSError(f"another gateway (pid {owner}) is at work on it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
