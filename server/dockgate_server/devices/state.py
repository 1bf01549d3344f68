"""The latest state of each device, in memory only.

Devices report all of it about twice a second (osd) and single members when they change (state),
each message with some of the members. Nothing of it is history, so nothing of it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST_MEMBERS = 500
"""Of one device: more than any model has. A device that makes up names must not fill the memory."""


@dataclass(slots=True)
class State:
    """What a device has reported since the gateway was started."""

    updated_at: int = 0
    osd: dict[str, Any] = field(default_factory=dict)
    """What it reports regularly: the latest of each member."""
    reported: dict[str, Any] = field(default_factory=dict)
    """What it reports on change: the latest of each member."""


class StateBoard:
    """Keeps the state of devices; whoever feeds it knows which devices there are."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def of(self, serial_number: str) -> State | None:
        """The device's state; None when it has reported none."""
        return self._states.get(serial_number)

    def regular(self, serial_number: str, data: Mapping[str, Any], at: int) -> None:
        """A message on the osd topic came."""
        state = self._states.setdefault(serial_number, State())
        _merge(state.osd, data)
        state.updated_at = at

    def on_change(self, serial_number: str, data: Mapping[str, Any], at: int) -> None:
        """A message on the state topic came."""
        state = self._states.setdefault(serial_number, State())
        _merge(state.reported, data)
        state.updated_at = at

    def forget(self, serial_number: str) -> None:
        """The device is no longer known."""
        self._states.pop(serial_number, None)


def _merge(into: dict[str, Any], data: Mapping[str, Any]) -> None:
    if len(into) + len(data) <= _MOST_MEMBERS:
        into.update(data)
        return
    for name, value in data.items():
        if name in into or len(into) < _MOST_MEMBERS:
            into[name] = value
