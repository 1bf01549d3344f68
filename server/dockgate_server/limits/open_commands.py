"""How many commands may be open at once, for one device and for one credential.

Emergencies are not refused by these numbers: a stop has to get through. They have one of their own,
for each method, credential and device. So nobody's stop is refused for what others have sent, nor
a stop for many calls home; and whoever is refused has that very emergency open that many times.

Counted is what is committed: a command takes its place when it is accepted and gives it back
with the event that ends it, whatever that is, so the numbers cannot drift away from the record.
A submission holds a place while it is being committed, as two of them must not both get the last
one.
"""

from collections.abc import Iterable, Sequence

from dockgate_server.codec import catalogue
from dockgate_server.limits.refusals import Refusals, is_exempt
from dockgate_server.model.caller import Caller
from dockgate_server.model.command import CommandEvent, EventKind, Status

DEVICE_LIMIT = "limits.open_commands_per_device"
CREDENTIAL_LIMIT = "limits.open_commands_per_credential"
EMERGENCY_LIMIT = "limits.open_emergencies"

_ACCEPTED, _DELIVERED, _NEW = Status.ACCEPTED, Status.DELIVERED, EventKind.ACCEPTED

Place = tuple[str, str, str]
"""The gateway device that carries a command, the credential that has submitted it, and the method
if that is an emergency, else ""."""


class OpenCommands:
    """Counts open commands.

    The device is the dock or remote controller: it carries the commands of what hangs on it, one
    by one, and goes by one name where a drone may be called by two.

    Args:
        per_device: The most for one gateway device.
        per_credential: The most for one credential.
        emergencies: The most emergencies of one method, credential and gateway device.
        refusals: Makes the errors.
    """

    def __init__(
        self, per_device: int, per_credential: int, emergencies: int, refusals: Refusals
    ) -> None:
        self._per_device = per_device
        self._per_credential = per_credential
        self._most_emergencies = emergencies
        self._refusals = refusals
        self._reserved: dict[str, Place] = {}  # by command id: they have no seq yet
        self._taken: dict[int, Place] = {}  # by seq, which is smaller than an id
        self._of_device: dict[str, int] = {}
        self._of_credential: dict[str, int] = {}
        self._emergencies: dict[Place, int] = {}

    def recover(self, found: Iterable[tuple[int, str, str, str]]) -> None:
        """Count what earlier processes have left open; before anything new is accepted.

        Args:
            found: Seq, gateway device, credential and method of each open command.
        """
        for seq, gateway_id, principal, command_type in found:
            self._taken[seq] = self._add(_place(gateway_id, principal, command_type))

    def reserve(self, caller: Caller, command_id: str, gateway_id: str, command_type: str) -> None:
        """Hold a place for a command that is to be accepted.

        Either its event comes to :meth:`committed`, or whoever reserves gives the place back.

        Args:
            caller: Who submits it.
            command_id: Its id.
            gateway_id: The gateway device that is to carry it.
            command_type: Its method.

        Raises:
            DockgateError: RATE_LIMITED, when there is no place.
        """
        principal = caller.principal
        place = _place(gateway_id, principal, command_type)
        if place[2]:
            self._check_emergency(caller, place)
        else:
            if self._of_device.get(gateway_id, 0) >= self._per_device:
                raise self._refusals.reached(
                    caller,
                    DEVICE_LIMIT,
                    f"{self._per_device} commands to {gateway_id} and what it carries are open, "
                    "and no more are taken until one ends",
                )
            open_now = self._of_credential.get(principal, 0)
            if open_now >= self._per_credential and not is_exempt(caller):
                raise self._refusals.reached(
                    caller,
                    CREDENTIAL_LIMIT,
                    f"{self._per_credential} commands of {principal} are open, and no more are "
                    "taken until one ends",
                )
        self._reserved[command_id] = self._add(place)

    def give_back(self, command_id: str) -> None:
        """The command has not been accepted; if it has, this does nothing."""
        place = self._reserved.pop(command_id, None)
        if place is not None:
            self._remove(place)

    def committed(self, events: Sequence[CommandEvent]) -> None:
        """Take note of a commit: what was accepted, and what has ended."""
        for event in events:
            command = event.command
            status = command.status
            # By identity, several times faster than `is_end`: this is done for every event.
            if status is not _ACCEPTED and status is not _DELIVERED:
                # Also what is only recorded behind the end comes here; then it is gone already.
                ended = self._taken.pop(command.seq, None)
                if ended is not None:
                    self._remove(ended)
            elif event.kind is _NEW:
                place = self._reserved.pop(command.id, None)
                if place is None:
                    place = self._add(
                        _place(command.gateway_id, command.principal, command.command_type)
                    )
                self._taken[command.seq] = place

    def _check_emergency(self, caller: Caller, place: Place) -> None:
        open_now = self._emergencies.get(place, 0)
        if open_now >= self._most_emergencies:
            gateway_id, principal, method = place
            raise self._refusals.reached(
                caller,
                EMERGENCY_LIMIT,
                f"{open_now} {method} of {principal} to {gateway_id} are open, which the device "
                "has been or is being sent, and no more of them are taken until one ends; other "
                "emergencies are",
            )

    def _add(self, place: Place) -> Place:
        gateway_id, principal, emergency = place
        if emergency:
            self._emergencies[place] = self._emergencies.get(place, 0) + 1
        self._of_device[gateway_id] = self._of_device.get(gateway_id, 0) + 1
        self._of_credential[principal] = self._of_credential.get(principal, 0) + 1
        return place

    def _remove(self, place: Place) -> None:
        gateway_id, principal, emergency = place
        if emergency:
            left = self._emergencies[place] - 1
            if left:
                self._emergencies[place] = left
            else:
                del self._emergencies[place]
        left = self._of_device[gateway_id] - 1
        if left:
            self._of_device[gateway_id] = left
        else:
            del self._of_device[gateway_id]
        left = self._of_credential[principal] - 1
        if left:
            self._of_credential[principal] = left
        else:
            del self._of_credential[principal]


def _place(gateway_id: str, principal: str, command_type: str) -> Place:
    return gateway_id, principal, command_type if command_type in catalogue.EMERGENCIES else ""
