"""The ids of commands: UUIDs of version 7, which begin with the time and which nobody can guess.

Ids that follow each other lie together in the database's index. With random ones each insert
touches a page of its own, which makes a group of inserts a third more expensive, and more so the
more commands there are.
"""

import os
from collections import deque

_AT_ONCE = 256
"""Ids for one question to the system, each of which gives other threads a turn."""

_RANDOM_BYTES = 10
_VARIANTS = "89ab"

LONGEST = 36
"""Characters. Whatever is longer is the id of nothing."""

_random: deque[bytes] = deque()


def new(now: int) -> str:
    """A new id.

    Args:
        now: The time, in milliseconds since 1970 (UTC).
    """
    if not _random:
        drawn = os.urandom(_RANDOM_BYTES * _AT_ONCE)
        _random.extend(drawn[at : at + _RANDOM_BYTES] for at in range(0, len(drawn), _RANDOM_BYTES))
    random = _random.popleft()
    digits, variant = random.hex(), _VARIANTS[random[-1] & 3]
    time = f"{now & 0xFFFFFFFFFFFF:012x}"
    return f"{time[:8]}-{time[8:]}-7{digits[:3]}-{variant}{digits[3:6]}-{digits[6:18]}"
