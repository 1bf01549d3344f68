"""How many commands may be open at once, for one device and for one credential.

Counted is what is committed: a command takes its place when it is accepted and gives it back
with the event that ends it, whatever that is, so the numbers cannot drift away from the record.
A submission holds a place while it is being committed, as two of them must not both get the last
one.
"""

from collections.abc import Iterable, Sequence

from dockgate_server.limits.refusals import Refusals, is_exempt
from dockgate_server.model.caller import Caller
from dockgate_server.model.command import CommandEvent, EventKind, Status

DEVICE_LIMIT = "limits.open_commands_per_device"
CREDENTIAL_LIMIT = "limits.open_commands_per_credential"

_ACCEPTED, _DELIVERED, _NEW = Status.ACCEPTED, Status.DELIVERED, EventKind.ACCEPTED

Place = tuple[str, str]
"""The gateway device that carries a command, and the credential that has submitted it."""


class OpenCommands:
    """Counts open commands.

    The device is the dock or remote controller: it carries the commands of what hangs on it, one
    by one, and goes by one name where a drone may be called by two.

    Args:
        per_device: The most for one gateway device.
        per_credential: The most for one credential.
        refusals: Makes the errors.
    """

    def __init__(self, per_device: int, per_credential: int, refusals: Refusals) -> None:
        self._per_device = per_device
        self._per_credential = per_credential
        self._refusals = refusals
        self._reserved: dict[str, Place] = {}  # by command id: they have no seq yet
        self._taken: dict[int, Place] = {}  # by seq, which is smaller than an id
        self._of_device: dict[str, int] = {}
        self._of_credential: dict[str, int] = {}

    def recover(self, found: Iterable[tuple[int, str, str]]) -> None:
        """Count what earlier processes have left open; before anything new is accepted.

        Args:
            found: Seq, gateway device and credential of each open command.
        """
        for seq, gateway_id, principal in found:
            self._taken[seq] = self._add((gateway_id, principal))

    def reserve(self, caller: Caller, command_id: str, gateway_id: str, *, urgent: bool) -> None:
        """Hold a place for a command that is to be accepted.

        Either its event comes to :meth:`committed`, or whoever reserves gives the place back.

        Args:
            caller: Who submits it.
            command_id: Its id.
            gateway_id: The gateway device that is to carry it.
            urgent: It gets a place even where there is none.

        Raises:
            DockgateError: RATE_LIMITED, when there is no place.
        """
        principal = caller.principal
        if not urgent:
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
        self._reserved[command_id] = self._add((gateway_id, principal))

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
                    place = self._add((command.gateway_id, command.principal))
                self._taken[command.seq] = place

    def _add(self, place: Place) -> Place:
        gateway_id, principal = place
        self._of_device[gateway_id] = self._of_device.get(gateway_id, 0) + 1
        self._of_credential[principal] = self._of_credential.get(principal, 0) + 1
        return place

    def _remove(self, place: Place) -> None:
        gateway_id, principal = place
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
