"""Commands whose gateway device is away, or that cannot be sent for another reason.

A gateway device is away when its last will has come, or when the broker said that nobody listens
for it. Commands that fail fast end then; the others wait here, in the order accepted, until the
device is back. In the second case that may go unnoticed, so now and then, and at each sign of life,
one of those that wait is sent to find out. Only when the broker has taken that one do the others
follow it: so nothing is published again and again, and nobody is overtaken.

Where a message did not leave, its intent to send is taken back first, and until that is recorded
everything for its gateway device waits here as well.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from dockgate_server.clock import Clock, Handle
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.dispatcher.backlog import Backlog, Waiting
from dockgate_server.dispatcher.decisions import Decisions
from dockgate_server.dispatcher.waiters import Waiters
from dockgate_server.model.command import Command, FailureCode
from dockgate_server.model.device import Presence

PROBE_SECONDS = 5.0
"""How often one of the commands that wait for a device is sent to find out whether it is back."""


class Absent:
    """Keeps the commands that wait for gateway devices to come back.

    Args:
        presence: Who is there.
        backlog: Where commands go that may be sent again.
        decisions: Records the end of commands that do not wait.
        clock: The time.
        is_open: Whether a command still waits for its end.
        wake: Told when something may be sent.
    """

    def __init__(
        self,
        presence: PresenceBook,
        backlog: Backlog,
        decisions: Decisions,
        clock: Clock,
        *,
        is_open: Callable[[str], bool],
        wake: Callable[[], None],
    ) -> None:
        self._presence = presence
        self._backlog = backlog
        self._decisions = decisions
        self._clock = clock
        self._is_open = is_open
        self._wake = wake
        self._waiting: dict[str, Waiters] = {}
        self._silent: set[str] = set()  # gateways for which nobody listened when last tried
        self._probes: dict[str, str] = {}  # by gateway, the command that is finding out
        self._taking_back: Counter[str] = Counter()  # by gateway, intents not yet taken back
        self._to_probe: set[str] = set()  # as soon as these are
        self._timer: Handle | None = None
        presence.listen(self._presence_changed)

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def is_away(self, gateway_id: str) -> bool:
        """Whether commands to this gateway device do not go out at once."""
        return gateway_id in self._waiting or self._has_left(gateway_id)

    def takes(self, one: Waiting) -> bool:
        """Whether the command is not to be sent now, as its gateway device is away.

        An emergency always goes out: what we believe of the device may be wrong, and the broker's
        answer will tell.
        """
        gateway_id = one.command.gateway_id
        if one.overtakes or not self.is_away(gateway_id):
            return False
        if self._has_left(gateway_id):
            self._away(one, _left(gateway_id))
            return True
        if self._probes.get(gateway_id) == one.command.id:
            return False
        self._keep(one, f"others wait for gateway {gateway_id} to come back")
        self._probe(gateway_id)
        return True

    def wait(self, one: Waiting, reason: str) -> None:
        """A command could not be sent after all, and waits here until it can."""
        self._keep(one, reason)
        self._probe(one.command.gateway_id)

    def nobody_listened(self, one: Waiting) -> None:
        """The broker said so of this message; those that fail fast need not find out any more."""
        gateway_id = one.command.gateway_id
        reason = f"nobody at the broker listens for gateway {gateway_id}"
        self._presence.doubt(gateway_id)
        self._silent.add(gateway_id)
        # The one that is finding out goes on to, unless it is this one: it may still wait for a
        # place in the window, and another one in its stead would overtake it.
        self._fail_fast(gateway_id, reason)
        self._away(one, reason)

    def was_taken(self, gateway_id: str) -> None:
        """Somebody listens: the broker has taken, or refused, a message for the gateway device."""
        self._probes.pop(gateway_id, None)
        self._silent.discard(gateway_id)
        self._probe(gateway_id)

    def done_with(self, command: Command) -> None:
        """A command has ended, or is lost; if it was to find out, the next one does."""
        if self._probes.get(command.gateway_id) == command.id:
            del self._probes[command.gateway_id]
            self._probe(command.gateway_id)

    def probe_all(self) -> None:
        """Find out about every gateway device that is not known to have left."""
        for gateway_id in list(self._waiting):
            self._probe(gateway_id)

    def _presence_changed(self, gateway_id: str, presence: Presence) -> None:
        """There is a sign of life of a gateway device, or its last will."""
        if presence is Presence.ONLINE:
            self._probe(gateway_id)
        elif presence is Presence.OFFLINE:
            self._fail_fast(gateway_id, _left(gateway_id))

    def _has_left(self, gateway_id: str) -> bool:
        return self._presence.of(gateway_id) is Presence.OFFLINE

    def _away(self, one: Waiting, reason: str) -> None:
        if one.ends_when_away:
            self._decisions.refuse(one.command, FailureCode.DEVICE_OFFLINE, reason)
        else:
            self._keep(one, reason)

    def _keep(self, one: Waiting, reason: str) -> None:
        gateway_id = one.command.gateway_id
        taken_back = partial(self._taken_back, gateway_id)
        if self._decisions.take_back(one, reason, taken_back):
            self._taking_back[gateway_id] += 1
        if self._probes.get(gateway_id) == one.command.id:
            del self._probes[gateway_id]
        # One that may have left may still be answered, and then others of its kind have to wait.
        if not one.may_have_left and self._backlog.is_in(one.command):
            self._wake()
        if gateway_id not in self._waiting:
            self._waiting[gateway_id] = Waiters()
        self._waiting[gateway_id].add(one)
        self._arm()

    def _fail_fast(self, gateway_id: str, reason: str) -> None:
        """End those that wait for nothing but to know whether the device is there.

        Not emergencies: one that was not published itself goes out, whatever is believed.
        """
        waiting = self._waiting.get(gateway_id)
        for one in waiting.take_hurried() if waiting is not None else ():
            self._away(one, reason)
        if not waiting and gateway_id not in self._probes:
            self._waiting.pop(gateway_id, None)

    def _taken_back(self, gateway_id: str) -> None:
        self._taking_back[gateway_id] -= 1
        if not self._taking_back[gateway_id]:
            del self._taking_back[gateway_id]
            if gateway_id in self._to_probe:
                self._probe(gateway_id)

    def _probe(self, gateway_id: str) -> None:
        """Send what waits: the first alone, if nobody listened when last tried.

        Nothing if that one is on its way, or the device has left; but emergencies always.
        """
        if gateway_id in self._taking_back:
            self._to_probe.add(gateway_id)
            return
        self._to_probe.discard(gateway_id)
        waiting = self._waiting.get(gateway_id)
        if waiting is None:
            return
        self._release(waiting.take_urgent())
        if gateway_id in self._probes:
            return
        waiting.drop_ended_at_front(self._is_open)
        if not waiting:
            # Everything that waited has ended; the next command finds out by itself.
            del self._waiting[gateway_id]
            self._silent.discard(gateway_id)
        elif self._has_left(gateway_id):
            pass
        elif gateway_id not in self._silent:
            self._release(self._waiting.pop(gateway_id).take_all())
        else:
            first = waiting.take_first()
            self._probes[gateway_id] = first.command.id
            self._release((first,))

    def _release(self, waiting: Iterable[Waiting]) -> None:
        if ones := [one for one in waiting if self._is_open(one.command.id)]:
            self._backlog.put(*ones)
            self._wake()

    def _arm(self) -> None:
        if self._timer is None:
            when = self._clock.monotonic() + PROBE_SECONDS
            self._timer = self._clock.call_at(when, self._ring)

    def _ring(self) -> None:
        self._timer = None
        for waiting in self._waiting.values():
            waiting.drop_ended(self._is_open)
        self.probe_all()
        if self._waiting:
            self._arm()


def _left(gateway_id: str) -> str:
    return f"gateway {gateway_id} has left the broker"
