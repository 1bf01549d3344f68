"""What waits to be sent, and in which order it goes.

Commands go in the order accepted; emergencies overtake them. Of a method whose answer names no
more than the gateway and the method, one at a time is sent, and those behind it wait for its end.
"""

import heapq
from collections import deque
from dataclasses import dataclass

from dockgate_server.codec import catalogue, channels
from dockgate_server.model.command import Channel, Command, OfflinePolicy


@dataclass(slots=True)
class Waiting:
    """A command that is to be sent."""

    command: Command
    overtakes: bool
    repeatable: bool
    streams: bool
    """It has no answer and is outdated in a second: sent at once or not at all."""
    alone: bool
    """Its answer names no more than gateway and method: one at a time is sent."""
    intended: bool
    """The intent to send is committed."""
    may_have_left: bool = False
    """A copy was handed to the network before: what the broker says of the next one says nothing
    of that."""

    @property
    def fails_fast(self) -> bool:
        """It does not wait for a gateway device that is away."""
        return self.command.offline_policy is OfflinePolicy.FAIL_FAST

    @property
    def kind(self) -> tuple[str, str]:
        """Gateway and method."""
        return self.command.gateway_id, self.command.command_type


def waiting(command: Command, *, intended: bool) -> Waiting:
    """A command with what its method says about sending it."""
    method = catalogue.METHODS.get(command.command_type)
    return Waiting(
        command,
        overtakes=method is not None and method.spec.overtakes,
        repeatable=method is not None and method.spec.safe_to_repeat,
        streams=method is not None and method.spec.control_stream,
        alone=goes_alone(command.channel, command.command_type),
        intended=intended,
    )


def goes_alone(channel: Channel, command_type: str) -> bool:
    """Whether one command of this kind at a time is sent to a gateway."""
    return channel is Channel.DRC and not channels.has_sequence_number(command_type)


class Backlog:
    """The commands that wait, in order."""

    def __init__(self) -> None:
        self._urgent: deque[Waiting] = deque()
        self._ordinary: deque[Waiting] = deque()
        self._out: dict[tuple[str, str], str] = {}  # of those that go alone: the one that is out
        self._behind: dict[tuple[str, str], list[Waiting]] = {}

    def __len__(self) -> int:
        behind = sum(len(waiting) for waiting in self._behind.values())
        return len(self._urgent) + len(self._ordinary) + behind

    @property
    def is_waiting(self) -> bool:
        """Whether anything could be taken."""
        return bool(self._urgent or self._ordinary)

    @property
    def has_urgent(self) -> bool:
        """Whether emergencies wait."""
        return bool(self._urgent)

    @property
    def has_ordinary(self) -> bool:
        """Whether commands wait that are no emergencies."""
        return bool(self._ordinary)

    def put(self, *coming: Waiting) -> None:
        """In the order accepted: what comes back goes before those accepted after it."""
        for queue, overtakes in ((self._urgent, True), (self._ordinary, False)):
            ones = [one for one in coming if one.overtakes is overtakes]
            if ones and queue and queue[-1].command.seq > ones[0].command.seq:
                merged = list(heapq.merge(queue, ones, key=_seq))
                queue.clear()
                queue.extend(merged)
            else:
                queue.extend(ones)

    def take(self, room: int, room_for_urgent: int) -> list[Waiting]:
        """Those that may be sent now; emergencies first, which have room of their own."""
        urgent = min(len(self._urgent), max(0, room_for_urgent))
        group = [self._urgent.popleft() for _ in range(urgent)]
        ordinary = min(len(self._ordinary), max(0, room - len(group)))
        return group + [self._ordinary.popleft() for _ in range(ordinary)]

    def go_out(self, one: Waiting) -> bool:
        """Note that one of those that go alone is out; False puts it behind the one that is."""
        if not one.alone or self._out.setdefault(one.kind, one.command.id) == one.command.id:
            return True
        self._behind.setdefault(one.kind, []).append(one)
        return False

    def is_in(self, command: Command) -> bool:
        """A command has ended or come back; True when others waited for that and now may go."""
        kind = (command.gateway_id, command.command_type)
        if self._out.get(kind) != command.id:
            return False
        del self._out[kind]
        released = self._behind.pop(kind, [])
        self.put(*released)
        return bool(released)


def _seq(one: Waiting) -> int:
    return one.command.seq
