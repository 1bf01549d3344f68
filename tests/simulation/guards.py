"""The guards of the guarded changes, read from the SQL, and the SQL without one of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dockgate_server.store.sqlite.queries import COMMANDS

_CONFLICT = re.compile(r"ON CONFLICT \([^)]*\) DO NOTHING\s*")
_WHERE = re.compile(r"\bWHERE\b(.*)\bRETURNING\b", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Guard:
    """One condition on which a change of a command depends."""

    query: str
    condition: str
    without: str
    """The query without it."""

    def __str__(self) -> str:
        return f"{self.query}: {self.condition}"


def all_guards() -> list[Guard]:
    """Every guard of every change in ``commands.sql``."""
    return [guard for name, sql in COMMANDS.items() for guard in _guards(name, _plain(sql))]


def _guards(name: str, sql: str) -> Iterator[Guard]:
    if sql.startswith("INSERT") and (conflict := _CONFLICT.search(sql)):
        yield Guard(name, conflict.group().strip(), sql.replace(conflict.group(), ""))
    if not sql.startswith("UPDATE"):
        return
    where = _WHERE.search(sql)
    assert where is not None, f"{name} changes every row, or does not say which it has changed"
    conditions = _split(where.group(1))
    for one in conditions:
        others = " AND ".join(other for other in conditions if other is not one) or "TRUE"
        yield Guard(name, one, f"{sql[: where.start(1)]} {others} {sql[where.end(1) :]}")


def _plain(sql: str) -> str:
    """The SQL in one line, without comments."""
    return " ".join(re.sub(r"--.*", "", sql).split())


def _split(conditions: str) -> list[str]:
    """What AND joins, on the level of the WHERE itself."""
    parts, depth, current = [], 0, ""
    for word in re.split(r"(\bAND\b|[()])", conditions):
        depth += (word == "(") - (word == ")")
        if word == "AND" and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += word
    return [*parts, current.strip()]
