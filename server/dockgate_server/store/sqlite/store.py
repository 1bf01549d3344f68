"""The store on SQLite: opening, reading, and handing changes to the one writer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any

from dockgate_server.clock import Clock
from dockgate_server.model import transitions
from dockgate_server.model.audit import Entry
from dockgate_server.model.command import Command, CommandEvent, CommandFilter, Status
from dockgate_server.store.interface import (
    Credential,
    LedgerPage,
    OnCommit,
    Page,
    Swept,
    Target,
)
from dockgate_server.store.sqlite import acceptance, changes, retention, rows
from dockgate_server.store.sqlite.audit import SqliteAudit
from dockgate_server.store.sqlite.database import Database
from dockgate_server.store.sqlite.devices import SqliteDevices
from dockgate_server.store.sqlite.events import KEPT, SqliteEvents
from dockgate_server.store.sqlite.opening import opened
from dockgate_server.store.sqlite.queries import ACCESS, COMMANDS, LEDGER
from dockgate_server.store.sqlite.requests import SqliteRequests
from dockgate_server.store.sqlite.secrets import SqliteSecrets
from dockgate_server.store.sqlite.sources import SqliteSources
from dockgate_server.store.sqlite.together import Made, Together
from dockgate_server.store.sqlite.transaction import Transaction
from dockgate_server.store.sqlite.writer import GroupWriter

_RECOVERY_CHUNK = 1000
_OPEN = frozenset(one for one in Status if not one.is_end)
_NEWEST = 1 << 62
_LARGE_IN_LEDGER = itemgetter(slice(5, 6))  # the data


class SqliteStore:
    """The record of every command, device and key in one SQLite file.

    Args:
        path: The database file; its folder is made if it is missing.
        on_commit: Is given the events of every commit, on the event loop.
        exclusive: Refuse to open a database on which another gateway is at work. Two would
            each send the commands that wait. False for tools such as ``dockgate keys``.
        on_writable: Is told False when the database takes no changes (disk full, locked, damaged),
            and True when it does again.
        keep_events: How many events of devices are kept at most.
        clock: The time, for keeping lines in the log few.
    """

    def __init__(
        self,
        path: Path,
        on_commit: OnCommit = lambda _: None,
        *,
        exclusive: bool = True,
        on_writable: Callable[[bool], None] = lambda _: None,
        keep_events: int = KEPT,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._on_commit = on_commit
        self._exclusive = exclusive
        self._on_writable = on_writable
        self._keep_events = keep_events
        self._clock = clock

    async def __aenter__(self) -> "SqliteStore":
        """Open the database, bring it to the current schema and start the writer.

        Raises:
            StoreProblem: It cannot be opened, written or understood, or is in use.
        """
        self._opened = contextlib.AsyncExitStack()
        connections = opened(self._path, exclusive=self._exclusive)
        writing, reading = await self._opened.enter_async_context(connections)
        self._writer = GroupWriter(writing, self._on_commit, self._on_writable, self._clock)
        self._db = Database(reading, self._writer)
        self.audit = SqliteAudit(self._db)
        self.devices = SqliteDevices(self._db, self.audit)
        self.events = SqliteEvents(self._db, self._keep_events)
        self.requests = SqliteRequests(self._db, self.audit)
        self.secrets = SqliteSecrets(self._db, self.audit, writing)
        self.sources = SqliteSources(self._db)
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
        together = Together(0, self._accept, (accept.id,), accept)
        return self._db.submit(together, overtakes=accept.overtakes)

    def _accept(self, tx: Transaction, submissions: Sequence[transitions.Accept]) -> Sequence[Made]:
        made = acceptance.accept(tx, submissions)
        for new, one in zip(submissions, made, strict=True):
            if isinstance(one.answer, transitions.Accepted) and not one.answer.replayed:
                self.audit.append(tx, new.audit)
        return made

    def apply(self, transition: transitions.Transition) -> asyncio.Future[tuple[CommandEvent, ...]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        together = changes.together(transition)
        if together is not None:
            # That the broker has a message is of no use to anybody before the device answers, which
            # mostly comes next: one commit for both.
            is_urgent = not isinstance(transition, transitions.ConfirmDelivery)
            overtakes = isinstance(transition, transitions.BeginSending) and transition.overtakes
            return self._db.submit(together, is_urgent=is_urgent, overtakes=overtakes)
        change = partial(_apply, transition)
        if isinstance(transition, transitions.Cancel):
            return self._db.submit(self.audit.recorded(change, transition.audit))
        # Until an intent is taken back its command waits, an emergency perhaps. What it undoes is
        # committed already.
        return self._db.submit(change, overtakes=isinstance(transition, transitions.TakeBack))

    async def find_accepted(self, tenant: str, idempotency_key: str) -> transitions.Accepted | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        key = {"tenant": tenant, "idempotency_key": idempotency_key}
        row = await self._db.one(COMMANDS["get_command_by_key"], key)
        return None if row is None else acceptance.accepted(row, replayed=True)

    async def get_command(self, tenant: str, command_id: str) -> Command | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._db.one(COMMANDS["get_command"], {"tenant": tenant, "id": command_id})
        return None if row is None else rows.command(row)

    async def list_commands(
        self,
        tenant: str,
        which: CommandFilter,
        before: int | None,
        limit: int,
        among: Sequence[Target] | None = None,
    ) -> Page:
        """See :class:`~dockgate_server.store.interface.Store`."""
        query = "list_commands_of_device" if which.device_id else "list_commands"
        if among is not None:
            query = "list_commands_among"
            among = [one for one in among if which.device_id in ("", one[1])]
        if which.statuses and _OPEN.issuperset(which.statuses):
            query = "list_open_commands"
        values = {
            "tenant": tenant,
            "targets": json.dumps(among),
            "device_id": which.device_id,
            "command_type": which.command_type,
            "statuses": json.dumps(which.statuses),
            "before": _NEWEST if before is None else before,
        }
        found, more = await self._db.page(COMMANDS[query], values, limit, rows.large_of_command)
        return Page(tuple(map(rows.command, found)), found[-1][0] if more else None)

    async def targets(self, tenant: str) -> Sequence[Target]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return await self._db.all(COMMANDS["targets"], {"tenant": tenant})

    async def events_of_command(
        self, tenant: str, command_id: str, after_revision: int, limit: int
    ) -> Sequence[CommandEvent]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {"tenant": tenant, "id": command_id, "after": after_revision}
        read = partial(retention.events_of_command, values=values, limit=limit)
        found = await self._db.read(read)
        return [rows.event(row) for row in found]

    async def events_of_all_commands(self, after: int, limit: int) -> Sequence[CommandEvent]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        found = await self._db.read(partial(retention.events_behind, after=after, limit=limit))
        return [rows.event(row) for row in found]

    async def newest_event_seq(self) -> int:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._db.one(COMMANDS["newest_event_seq"], {})
        return int(row[0]) if row else 0

    def open_commands(self) -> AsyncIterator[Sequence[Command]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._in_chunks("open_commands")

    async def open_places(self) -> Sequence[tuple[int, str, str, str]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        found: list[tuple[int, str, str, str]] = await self._db.all(COMMANDS["open_places"], {})
        return found

    def commands_with_open_jobs(self) -> AsyncIterator[Sequence[Command]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._in_chunks("commands_with_open_jobs")

    async def _in_chunks(self, query: str) -> AsyncIterator[Sequence[Command]]:
        after = 0
        while True:
            values = {"after": after, "limit": _RECOVERY_CHUNK}
            found = await self._db.all(COMMANDS[query], values)
            if not found:
                return
            yield [rows.command(row) for row in found]
            after = found[-1][0]

    async def last_sent(self, from_seq: int) -> Sequence[tuple[str, str, int]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return await self._db.all(COMMANDS["last_sent"], {"from_seq": from_seq})

    def remove_old(self, cutoff: int, now: int, after: int) -> asyncio.Future[Swept]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        step = partial(retention.remove_old, cutoff=cutoff, now=now, after=after)
        return self._db.submit(step)

    def record_unmatched(self, unmatched: transitions.Unmatched) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._db.submit(partial(_call, changes.put_unmatched, unmatched))

    async def list_unmatched(
        self,
        tenant: str,
        gateway_id: str,
        before: int | None,
        limit: int,
        among: Collection[str] | None = None,
    ) -> LedgerPage:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {
            "tenant": tenant,
            "gateway_id": gateway_id,
            "gateways": None if among is None else json.dumps([*among]),
            "before": _NEWEST if before is None else before,
        }
        found, more = await self._db.page(LEDGER["list_unmatched"], values, limit, _LARGE_IN_LEDGER)
        newest = await self._db.one(LEDGER["newest_unmatched"], {})
        return LedgerPage(
            tuple(transitions.Unmatched(*row[1:]) for row in found),
            found[-1][0] if more else None,
            newest[0] if newest else 0,
        )

    async def unmatched_gateways(self, tenant: str) -> Collection[str]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        found = await self._db.all(LEDGER["unmatched_gateways"], {"tenant": tenant})
        return [gateway_id for (gateway_id,) in found]

    def add_credential(
        self, credential: Credential, audit: Entry | None = None
    ) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {name: getattr(credential, name) for name in credential.__slots__}
        return self._changed("insert_credential", values, audit)

    def rotate_credential(
        self, api_id: str, sealed: bytes, at: int, audit: Entry | None = None
    ) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        values = {"api_id": api_id, "sealed_secret": sealed, "at": at}
        return self._changed("rotate_credential", values, audit)

    def end_older_secret(self, api_id: str, audit: Entry | None = None) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._changed("end_older_secret", {"api_id": api_id}, audit)

    def end_newer_secret(self, api_id: str, audit: Entry | None = None) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._changed("end_newer_secret", {"api_id": api_id}, audit)

    def disable_credential(
        self, api_id: str, at: int, audit: Entry | None = None
    ) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._changed("disable_credential", {"api_id": api_id, "at": at}, audit)

    async def get_credential(self, api_id: str) -> Credential | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._db.one(ACCESS["get_credential"], {"api_id": api_id})
        return None if row is None else Credential(*row)

    async def get_credential_of_certificate(self, name: str) -> Credential | None:
        """See :class:`~dockgate_server.store.interface.Store`."""
        row = await self._db.one(ACCESS["get_credential_of_certificate"], {"name": name})
        return None if row is None else Credential(*row)

    async def list_credentials(self) -> Sequence[Credential]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return [Credential(*row) for row in await self._db.all(ACCESS["list_credentials"], {})]

    async def usable_credentials(self) -> Sequence[tuple[str, str | None]]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return await self._db.all(ACCESS["usable_credentials"], {})

    def _changed(
        self, query: str, values: dict[str, Any], audit: Entry | None
    ) -> asyncio.Future[bool]:
        def change(tx: Transaction) -> bool:
            return tx.db.execute(ACCESS[query], values).fetchone() is not None

        return self._db.submit(self.audit.recorded(change, audit))

    def use_nonce(self, nonce: transitions.Nonce) -> asyncio.Future[bool]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._db.submit(Together(-1, _use_nonces, (), nonce))

    def forget_nonces(self, now: int) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.interface.Store`."""
        return self._db.execute(ACCESS["forget_nonces"], {"now": now})


def _use_nonces(tx: Transaction, nonces: Sequence[transitions.Nonce]) -> list[Made]:
    return [Made((), is_fresh) for is_fresh in acceptance.use_up(tx, nonces)]


def _call(function: Any, argument: object, tx: Transaction) -> Any:
    return function(tx, argument)


def _apply(transition: transitions.Transition, tx: Transaction) -> tuple[CommandEvent, ...]:
    first = len(tx.events)
    changes.CHANGES[type(transition)](tx, transition)
    return tuple(tx.events[first:])
