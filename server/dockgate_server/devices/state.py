"""The latest state of each device, in memory only.

Devices report all of it about twice a second (osd) and single members when they change (state),
each message with some of the members. Nothing of it is history, so nothing of it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
import structlog

LARGEST_BYTES = 262_144
"""Of JSON, the state of one device: many times what any model tells. As a message it is up to six
times as much, which clients still take."""

_MOST_MEMBERS = 500
"""Of one device: more than any model has. A device that makes up names must not fill the memory."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class State:
    """What a device has reported since the gateway was started."""

    updated_at: int = 0
    osd: dict[str, Any] = field(default_factory=dict)
    """What it reports regularly: the latest of each member."""
    reported: dict[str, Any] = field(default_factory=dict)
    """What it reports on change: the latest of each member."""
    most_bytes: int = 0
    """Of JSON, that it may have: what has come since it was measured comes on top."""

    def would_have(self, part: dict[str, Any], data: Mapping[str, Any]) -> int:
        """How many bytes of JSON it would have with these members in one of its parts."""
        other = self.reported if part is self.osd else self.osd
        return len(orjson.dumps({**part, **data})) + len(orjson.dumps(other))


class StateBoard:
    """Keeps the state of devices; whoever feeds it knows which devices there are."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._told: set[str] = set()
        """Devices of which it has been said that not all is kept."""

    def of(self, serial_number: str) -> State | None:
        """The device's state; None when it has reported none."""
        return self._states.get(serial_number)

    def regular(self, serial_number: str, data: Mapping[str, Any], at: int) -> None:
        """A message on the osd topic came."""
        state = self._states.get(serial_number) or State()
        self._put(serial_number, state, state.osd, data, at)

    def on_change(self, serial_number: str, data: Mapping[str, Any], at: int) -> None:
        """A message on the state topic came."""
        state = self._states.get(serial_number) or State()
        self._put(serial_number, state, state.reported, data, at)

    def forget(self, serial_number: str) -> None:
        """The device is no longer known."""
        self._states.pop(serial_number, None)
        self._told.discard(serial_number)

    def _put(
        self,
        serial_number: str,
        state: State,
        part: dict[str, Any],
        data: Mapping[str, Any],
        at: int,
    ) -> None:
        data = _with_room(part, data)
        size = len(orjson.dumps(data))
        most = state.most_bytes + size
        if most > LARGEST_BYTES:
            # Mostly it replaces what was there, so that is seldom looked at.
            most = state.would_have(part, data)
        if most > LARGEST_BYTES:
            if serial_number not in self._told:
                self._told.add(serial_number)
                _log.warning("state_not_kept", device=serial_number, bytes=size)
            return
        part.update(data)
        state.most_bytes, state.updated_at = most, at
        self._states[serial_number] = state


def _with_room(part: dict[str, Any], data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What there is room for: of too many members those that are known, and the first others."""
    if len(part) + len(data) <= _MOST_MEMBERS:
        return data
    new = (name for name in data if name not in part)
    kept = part.keys() & data.keys() | {*islice(new, _MOST_MEMBERS - len(part))}
    return {name: data[name] for name in kept}
