"""The triggers that keep the audit log append-only: whether they are as the migrations made them.

Who means to change the log can drop them, or add one by which new entries vanish; the chain shows
what was done then. Here it is seen that it was tried.
"""

import contextlib
import functools
import sqlite3
from collections.abc import Mapping

from dockgate_server.store.sqlite import migrations
from dockgate_server.store.sqlite.queries import AUDIT


def differences(db: sqlite3.Connection) -> tuple[str, ...]:
    """What is not as it was made, each as ``NAME is missing``, ``… changed`` or ``… added``."""
    made, found = _made(), _triggers(db)
    return tuple(
        f"{name} is {'missing' if name not in found else 'changed' if name in made else 'added'}"
        for name in sorted(made.keys() | found.keys())
        if made.get(name) != found.get(name)
    )


def put_back(db: sqlite3.Connection) -> tuple[str, ...]:
    """Make all as the migrations made it, within a transaction; returns what was not."""
    what = differences(db)
    if what:
        made, found = _made(), _triggers(db)
        for name in found:
            if made.get(name) != found[name]:
                quoted = name.replace('"', '""')
                db.execute(f'DROP TRIGGER "{quoted}"')
        for name, sql in made.items():
            if found.get(name) != sql:
                db.execute(sql)
    return what


@functools.cache
def _made() -> Mapping[str, str]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.migrate(db)
        return _triggers(db)


def _triggers(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute(AUDIT["guards"]).fetchall())
