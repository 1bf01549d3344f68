"""What is kept sealed, on SQLite."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
import structlog

from dockgate_server.codec import catalogue, redaction
from dockgate_server.model.audit import Entry
from dockgate_server.sealing import Resealing, SealingProblem, Vault
from dockgate_server.store.sqlite.audit import SqliteAudit
from dockgate_server.store.sqlite.database import Database
from dockgate_server.store.sqlite.queries import SECRETS
from dockgate_server.store.sqlite.transaction import Transaction
from dockgate_server.store.sqlite.writer import Connection

_log = structlog.get_logger(__name__)


class SqliteSecrets:
    """See :class:`~dockgate_server.store.secrets.Secrets`.

    Args:
        db: The database.
        audit: The audit log.
        writing: The writer's connection, for what cannot be done in a transaction.
    """

    def __init__(self, db: Database, audit: SqliteAudit, writing: Connection) -> None:
        self._db = db
        self._audit = audit
        self._writing = writing

    async def kept_keys(self) -> Mapping[str, bytes]:
        """See :class:`~dockgate_server.store.secrets.Secrets`."""
        return dict(await self._db.all(SECRETS["kept_keys"], {}))

    def keep_key(self, purpose: str, sealed: bytes) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.secrets.Secrets`."""
        return self._db.execute(SECRETS["keep_key"], {"purpose": purpose, "sealed": sealed})

    def reseal(self, resealing: Resealing, audit: Entry | None = None) -> asyncio.Future[int]:
        """See :class:`~dockgate_server.store.secrets.Secrets`."""
        change = partial(_reseal, resealing=resealing)
        return self._db.submit(self._audit.recorded(change, audit))

    async def clean(self, vault: Vault) -> bool:
        """See :class:`~dockgate_server.store.secrets.Secrets`."""
        row = await self._db.one(SECRETS["cleaning_is_due"], {})
        is_due, is_used = row or (0, 0)
        if not is_due:
            return False
        if is_used:
            cleaned = await self._db.submit(partial(_clean, vault=vault))
            _log.info("unsealed_secrets_removed", commands=cleaned)
            await self._writing.run(_rewrite)
        await self._db.execute(SECRETS["cleaning_is_done"], {})
        return bool(is_used)


def _rewrite(db: sqlite3.Connection) -> None:
    """Write the file anew: free pages and the log still hold what was removed from tables."""
    # By way of a file, as the copy is as large as the database.
    db.execute("PRAGMA temp_store = FILE")
    db.execute("VACUUM")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _reseal(tx: Transaction, resealing: Resealing) -> int:
    kept = tx.db.execute(SECRETS["kept_keys"]).fetchall()
    keys = [{"purpose": one, "sealed": resealing.kept_key(one, key)} for one, key in kept]
    tx.db.executemany(SECRETS["replace_kept_key"], keys)
    credentials = []
    for api_id, newer, older, is_in_use in tx.db.execute(SECRETS["sealed_credentials"]).fetchall():
        again = partial(resealing.api_secret, api_id)
        try:
            secrets = {"sealed": again(newer), "older": again(older) if older else None}
        except SealingProblem:
            if is_in_use:
                raise
            continue  # nobody can use it, so its key may have been lost long ago
        credentials.append({"api_id": api_id, **secrets})
    tx.db.executemany(SECRETS["replace_secrets"], credentials)
    found = tx.db.execute(SECRETS["sealed_commands"]).fetchall()
    commands = [{"id": one, "sealed": resealing.data(one, sealed)} for one, sealed in found]
    tx.db.executemany(SECRETS["replace_sealed"], commands)
    found = tx.db.execute(SECRETS["outgoing"]).fetchall()
    answers = [{"id": one, "outgoing": resealing.data(one, sealed)} for one, sealed in found]
    tx.db.executemany(SECRETS["replace_outgoing"], answers)
    return sum(map(len, (keys, credentials, commands, answers)))


def _clean(tx: Transaction, vault: Vault) -> int:
    tx.db.create_function("has_secrets", 1, _has_secrets, deterministic=True)
    tx.db.create_function("without_secrets", 1, _without_secrets, deterministic=True)
    for query in ("responses", "states", "replies", "ledger", "events"):
        tx.db.execute(SECRETS[f"clean_{query}"])
    for request_id, data in tx.db.execute(SECRETS["outgoing"]).fetchall():
        if not vault.is_sealed(data):
            values = {"id": request_id, "outgoing": vault.seal(request_id, data)}
            tx.db.execute(SECRETS["replace_outgoing"], values)
    harmless = [one for one in catalogue.METHODS if not redaction.has_marks(one)]
    found = tx.db.execute(SECRETS["perhaps_unsealed"], {"harmless": json.dumps(harmless)})
    changed = [one for row in found.fetchall() if (one := _cleaned(vault, *row)) is not None]
    tx.db.executemany(SECRETS["take_secrets_out"], changed)
    return len(changed)


def _cleaned(
    vault: Vault, command_id: str, command_type: str, data: bytes, content_hash: bytes, is_open: int
) -> dict[str, Any] | None:
    """What is to be written over a command; None where it has no secrets."""
    values = orjson.loads(data)
    kept = redaction.to_keep(command_type, values)
    if kept is values:
        return None
    return {
        "id": command_id,
        "data": orjson.dumps(kept),
        "sealed": vault.seal(command_id, data) if is_open else None,
        "content_hash": vault.digest(content_hash),
    }


def _has_secrets(raw: bytes | None) -> bool:
    return raw is not None and redaction.may_hold_secrets(raw)


def _without_secrets(raw: bytes) -> bytes:
    try:
        return orjson.dumps(redaction.without_secrets(orjson.loads(raw)))
    except orjson.JSONDecodeError:
        return b""  # a reply that nobody could read, or cut off
