"""What a run leaves behind, from which everything is judged. Data only."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

OPEN = frozenset({"ACCEPTED", "DELIVERED"})
"""The statuses that are no end."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept."""

    kind: str
    command_id: str
    """Empty where it is about no single command."""
    text: str

    def __str__(self) -> str:
        about = f"{self.command_id}: " if self.command_id else ""
        return f"{self.kind}: {about}{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A submission, and what its submitter was told of the command."""

    command_id: str
    key: str
    device_id: str
    method: str
    data: Any
    """What the dock is to get, as JSON values."""
    timeout_seconds: int
    offline_policy: str
    """As submitted; empty for the method's own."""
    accepted_at: int


@dataclass(slots=True, kw_only=True)
class Published:
    """A PUBLISH of a command that left the server, as the tap saw it."""

    at: int
    gateway_id: str
    tid: str | None
    """None on the drc channel, whose messages are known by their number."""
    seq: int | None
    data: Any
    expiry_seconds: int | None
    retain: bool = False
    reason: int | None = None
    """The reason code of the broker's PUBACK; None when the tap saw none."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A device's reply that the server acknowledged to the broker, which then forgot it."""

    gateway_id: str
    tid: str | None
    """None on the drc channel."""
    seq: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A command as a client saw it."""

    command_id: str
    revision: int
    status: str
    basis: str = ""
    failure_code: str = ""
    completed_at: int | None = None

    @property
    def end(self) -> tuple[str, str, str, int | None]:
        """What may never be anything else once the command has ended."""
        return self.status, self.basis, self.failure_code, self.completed_at

    @property
    def is_end(self) -> bool:
        """Whether the command has ended."""
        return self.status not in OPEN


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event as a watcher saw it."""

    command_id: str
    revision: int
    kind: str
    status: str


@dataclass(slots=True)
class Watch:
    """What a watch of one command has shown, over all its breaks."""

    command_id: str
    events: list[SeenEvent] = field(default_factory=list)
    breaks: int = 0
    ended: bool = False
    """The server ended it with OK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A row of `command`."""

    seq: int
    key: str
    device_id: str
    gateway_id: str
    method: str
    data: Any
    timeout_seconds: int
    offline_policy: str
    accepted_at: int
    deadline_at: int
    view: View


@dataclass(frozen=True, slots=True)
class Span:
    """A time from one moment to another."""

    began: int
    ended: int


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Everything that is known at the end of a run. Times are UTC milliseconds since 1970."""

    accepted: list[Accepted] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    received: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each command reached its dock, by dock and tid or number."""
    watches: list[Watch] = field(default_factory=list)
    fleet: list[SeenEvent] = field(default_factory=list)
    """All that the fleet watch has shown."""
    ends: dict[str, View] = field(default_factory=dict)
    """The first end of each command that any client saw."""
    listed: dict[str, View] = field(default_factory=dict)
    got: dict[str, View] = field(default_factory=dict)
    """All commands as ListCommands, and the accepted ones as GetCommand, gave them at the end."""
    stored: dict[str, Stored] = field(default_factory=dict)
    events: list[SeenEvent] = field(default_factory=list)
    """The rows of `command_event`, in the order of recording."""
    outages: list[Span] = field(default_factory=list)
    """When no server was serving: from the death of one to the readiness of the next."""
    absences: dict[str, list[Span]] = field(default_factory=dict)
    """When each dock was not at the broker, be it for its own reasons or the broker's."""
    log: list[str] = field(default_factory=list)
    """The server's log, line by line."""
    noticed: list[Violation] = field(default_factory=list)
    """What was found wrong while it happened."""
