"""The SQL of the .sql files, by name."""

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(file: str) -> dict[str, str]:
    """The queries of one file under ``sql/``: everything behind a ``-- name:`` line."""
    text = resources.files(__package__).joinpath("sql", file).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


COMMANDS = load("commands.sql")
DEVICES = load("devices.sql")
ACCESS = load("access.sql")
LEDGER = load("ledger.sql")
RETENTION = load("retention.sql")
BACKUP = load("backup.sql")
EVENTS = load("events.sql")
REQUESTS = load("requests.sql")
SOURCES = load("sources.sql")
SECRETS = load("secrets.sql")
AUDIT = load("audit.sql")
