"""Trouble with the database: which errors are its own, and when the log hears of them."""

import sqlite3
from typing import Final

import structlog

_log = structlog.get_logger(__name__)

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_OF_THE_DATABASE: Final = _DAMAGED | {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def is_of_database(error: Exception) -> bool:
    """Whether any other statement would have failed as well: disk full, locked, damaged."""
    return isinstance(error, MemoryError) or _code(error) in _OF_THE_DATABASE


def is_damage(error: Exception) -> bool:
    """Whether the file is damaged, which no waiting heals."""
    return _code(error) in _DAMAGED


def why(error: Exception) -> str:
    """What went wrong with a file, in the system's words if they are the system's."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def leaves_open_what_is_written(error: sqlite3.Error) -> bool:
    """Whether a COMMIT that fails with it may have written everything before that.

    Where a write fails that is not so: what makes a transaction whole is written last.
    """
    is_of_disk = _code(error) == sqlite3.SQLITE_IOERR
    return is_of_disk and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_WRITE


class Trouble:
    """Says in the log when a kind of trouble begins and when it ends, not each time it is met.

    Args:
        what: What the store cannot do meanwhile: ``read`` or ``write``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._told: set[str] = set()

    @property
    def lasts(self) -> bool:
        """Whether it has begun and not ended."""
        return bool(self._told)

    def met(self, error: Exception) -> None:
        """It has been met, perhaps again."""
        if str(error) not in self._told:
            self._told.add(str(error))
            _log.error(f"store_cannot_{self._what}", error=str(error))

    def over(self) -> None:
        """It was not met."""
        if self._told:
            self._told.clear()
            _log.info(f"store_can_{self._what}_again")


def _code(error: Exception) -> int | None:
    # Extended codes, which say more, have the plain one in their lowest byte.
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
