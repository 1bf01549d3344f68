"""The store on SQLite: write-ahead log, ``synchronous=FULL``, one writer, grouped commits."""

from dockgate_server.store.sqlite.store import SqliteStore, StoreProblem

__all__ = ["SqliteStore", "StoreProblem"]
