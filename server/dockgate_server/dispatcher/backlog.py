"""What waits to be sent, and in which order it goes.

Commands to one gateway go in the order accepted, and gateways take turns; emergencies overtake all.
Of a method whose answer names no more than the gateway and the method, one at a time is sent, and
those behind it wait for its end.
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
    reached_nobody: bool = False
    """It was handed to the network before, and the broker has thrown it away."""

    @property
    def ends_when_away(self) -> bool:
        """It does not wait for a gateway device that is away, and has certainly reached nobody."""
        return self.command.offline_policy is OfflinePolicy.FAIL_FAST and not self.may_have_left

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
        # By gateway, and the gateways in turn: a dock with a thousand commands holds up no other.
        self._ordinary: dict[str, deque[Waiting]] = {}
        self._ordinary_count = 0
        self._out: dict[tuple[str, str], str] = {}  # of those that go alone: the one that is out
        self._behind: dict[tuple[str, str], list[Waiting]] = {}

    def __len__(self) -> int:
        behind = sum(len(waiting) for waiting in self._behind.values())
        return len(self._urgent) + self._ordinary_count + behind

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
        by_queue: dict[str | None, list[Waiting]] = {}
        for one in coming:
            by_queue.setdefault(None if one.overtakes else one.command.gateway_id, []).append(one)
        for gateway_id, ones in by_queue.items():
            if gateway_id is None:
                _put(self._urgent, ones)
            else:
                _put(self._ordinary.setdefault(gateway_id, deque()), ones)
                self._ordinary_count += len(ones)

    def take(self, room: int, room_for_urgent: int) -> list[Waiting]:
        """Those that may be sent now; emergencies first, by themselves, with room of their own."""
        urgent = min(len(self._urgent), max(0, room_for_urgent))
        if urgent:
            return [self._urgent.popleft() for _ in range(urgent)]
        group: list[Waiting] = []
        while self._ordinary and len(group) < room:
            gateway_id = next(iter(self._ordinary))
            queue = self._ordinary.pop(gateway_id)
            group.append(queue.popleft())
            self._ordinary_count -= 1
            if queue:
                self._ordinary[gateway_id] = queue  # behind the other gateways
        return group

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


def _put(queue: deque[Waiting], coming: list[Waiting]) -> None:
    if queue and queue[-1].command.seq > coming[0].command.seq:
        merged = list(heapq.merge(queue, coming, key=_seq))
        queue.clear()
        queue.extend(merged)
    else:
        queue.extend(coming)


def _seq(one: Waiting) -> int:
    return one.command.seq
