"""Reading what has been logged."""

from typing import Any

Log = list[Any]


def events(log: Log) -> list[str]:
    """What the log is about, in order."""
    return [entry["event"] for entry in log]
