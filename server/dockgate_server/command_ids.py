"""The ids of commands: random UUIDs that nobody can guess."""

import os
import uuid
from collections import deque

_AT_ONCE = 256
"""Ids for one question to the system, each of which gives other threads a turn."""

_random: deque[bytes] = deque()


def new() -> str:
    """A new id."""
    if not _random:
        drawn = os.urandom(16 * _AT_ONCE)
        _random.extend(drawn[at : at + 16] for at in range(0, len(drawn), 16))
    return str(uuid.UUID(bytes=_random.popleft(), version=4))
