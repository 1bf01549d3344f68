"""Commands for a drone in whose place its dock names another one.

A message to a dock names no drone: whichever is in it would carry the command out. So what is for
one drone is not sent while the latest topology of its gateway device names only others. Commands
that fail fast end then, and so do emergencies; the others wait here until their drone is named.

Where no drone is named, everything is sent: a drone that sleeps in its dock is not named, and a
command wakes it. The same while nothing is known of the gateway device; and until its next topology
when one may have been missed, as the broker has lost our session.
"""

from collections.abc import Callable

from dockgate_server.codec import catalogue
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher.backlog import Backlog, Waiting
from dockgate_server.dispatcher.decisions import Decisions
from dockgate_server.model.command import Command, FailureCode
from dockgate_server.model.device import Device, DeviceKind, Presence
from dockgate_server.model.transitions import Accept

_Target = tuple[str, str, str]


class Aboard:
    """Knows whether a command would reach its drone, and keeps those that would not.

    Args:
        registry: Knows which drones are named.
        presence: Knows of which gateway devices anything is known.
        backlog: Where commands go that may be sent.
        decisions: Records the end of commands that do not wait.
        wake: Told when something may be sent.
    """

    def __init__(
        self,
        registry: Registry,
        presence: PresenceBook,
        backlog: Backlog,
        decisions: Decisions,
        wake: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._presence = presence
        self._backlog = backlog
        self._decisions = decisions
        self._wake = wake
        self._waiting: dict[_Target, dict[str, Waiting]] = {}
        registry.feed.listen(self._look_again)

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def missing(self, command: Command | Accept) -> str:
        """Why a command must not be sent: another drone would carry it out; "" if it may be."""
        there = self._registry.aircraft_at(command.gateway_id)
        if not there:
            return ""
        device = self._registry.find(command.tenant, command.device_id)
        if device is not None and device.id in there:
            return ""
        return self._why(command, device, there)

    def takes(self, one: Waiting) -> bool:
        """Whether the command is not to be sent now, as its drone is not there."""
        reason = self.missing(one.command)
        if not reason:
            return False
        if one.ends_when_away or (one.overtakes and not one.may_have_left):
            self._decisions.refuse(one.command, FailureCode.DEVICE_OFFLINE, reason)
        else:
            one.reached_nobody = False  # it may go behind others: who waits here is overtaken
            self._waiting.setdefault(_target(one.command), {})[one.command.id] = one
        return True

    def done_with(self, command: Command) -> None:
        """A command has ended."""
        if not self._waiting:
            return
        target = _target(command)
        if (waiting := self._waiting.get(target)) is not None:
            waiting.pop(command.id, None)
            if not waiting:
                del self._waiting[target]

    def _look_again(self) -> None:
        """Devices have changed: let those go whose drone may be there by now."""
        back: list[Waiting] = []
        for target, waiting in list(self._waiting.items()):
            # What is true of one is true of all that are for the same drone.
            if not self.missing(next(iter(waiting.values())).command):
                back += self._waiting.pop(target).values()
        if back:
            self._backlog.put(*sorted(back, key=lambda one: one.command.seq))
            self._wake()

    def _why(self, command: Command | Accept, device: Device | None, there: frozenset[str]) -> str:
        method = catalogue.METHODS.get(command.command_type)
        if method is None or not method.is_for_the_device:
            return ""
        if self._presence.of(command.gateway_id) is Presence.UNKNOWN:
            return ""
        if device is not None and not _may_be_a_drone(device, command.gateway_id):
            return ""
        # The number of another tenant's is nobody's business.
        found = [one for one in map(self._registry.get, sorted(there)) if one is not None]
        ours = [one.id for one in found if self._registry.belongs(one, command.tenant)]
        others = f"drone {' and '.join(ours)}" if ours else "another drone"
        wanted = command.device_id if device is None else device.id
        return f"gateway {command.gateway_id} has {others} now, and not {wanted}"


def _may_be_a_drone(device: Device, gateway_id: str) -> bool:
    is_carried = gateway_id != device.id != device.gateway_id
    return is_carried and device.kind in (DeviceKind.AIRCRAFT, None)


def _target(command: Command) -> _Target:
    return command.gateway_id, command.tenant, command.device_id
