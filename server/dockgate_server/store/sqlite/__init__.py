"""The store on SQLite: write-ahead log, ``synchronous=FULL``, one writer, grouped commits."""

from dockgate_server.store.sqlite.opening import StoreProblem
from dockgate_server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "StoreProblem"]
