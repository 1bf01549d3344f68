"""A command as the simulation knows it: what is recorded of it, and what has truly become of it."""

from dataclasses import dataclass, field
from typing import Any

from dockgate_server.codec import catalogue
from dockgate_server.dispatcher.backlog import goes_alone
from dockgate_server.model.command import Channel
from simulation.wire import Message

IDENTITY = """
SELECT seq, id, idempotency_key, gateway_id, channel, command_type, offline_policy,
    timeout_seconds, accepted_at, deadline_at
FROM command WHERE seq = ?
"""
"""What :meth:`Life.of` reads."""


@dataclass(slots=True, eq=False)
class Life:
    """One command."""

    # What it is.
    seq: int
    id: str
    key: str
    gateway_id: str
    channel: Channel
    command_type: str
    policy: str
    timeout: int
    accepted_at: int
    deadline_at: int
    repeatable: bool
    overtakes: bool
    streams: bool
    alone: bool
    """Its answer names no more than gateway and method."""

    # What is recorded of it.
    state: dict[str, Any] = field(default_factory=dict)
    """The columns that change, as of the last event."""
    events: list[tuple[int, str]] = field(default_factory=list)
    """Seq and kind of each event; the first one is revision 1."""
    began_at: float = 0.0
    changed_at: float = 0.0
    """When the last event was committed."""
    intents: int = 0
    intended_at: float = 0.0
    """When the last intent was committed."""
    replies: int = 0
    job_is_over: bool = False
    job_heard_at: float = 0.0
    """When the last report of its job was committed."""
    ended_at: float = 0.0
    ended_at_revision: int = 0

    # What is true of it.
    due: tuple[float, float] = (0.0, 0.0)
    """When its deadline is, by the gateway's clock: the earliest and the latest answer."""
    was_late: bool = False
    """By the wall clock, before it was set back."""
    reckoning_since: float | None = None
    """Since when a process works that out; None when it has."""
    reckoned_since: float = 0.0
    """Since when the process could know."""
    messages: list[Message] = field(default_factory=list)
    """What was handed to the network."""
    used_intents: int = 0
    taken: bool = False
    """The broker's yes is on its way to the gateway."""
    executed: bool = False
    """A dock has it."""
    end_is_known: bool = False
    """The gateway has been told of the commit that ended it."""

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> "Life":
        """The command of a row."""
        channel, command_type = Channel(row[4]), row[5]
        spec = catalogue.METHODS[command_type].spec
        return cls(
            *row[:4],
            channel,
            *row[5:],
            repeatable=spec.safe_to_repeat,
            overtakes=spec.overtakes,
            streams=spec.control_stream,
            alone=goes_alone(channel, command_type) and not spec.control_stream,
        )

    @property
    def is_over(self) -> bool:
        """Whether the record has an end for it."""
        return self.ended_at_revision > 0

    @property
    def may_arrive(self) -> bool:
        """Whether a dock has it, or may still get it."""
        return self.executed or any(not message.gone for message in self.messages)

    def __str__(self) -> str:
        return f"command {self.seq} ({self.command_type} for {self.gateway_id}, {self.key})"


@dataclass(slots=True, eq=False)
class Said:
    """Something that a dock said, known by its number wherever it turns up again."""

    number: int
    life: Life | None
    """The command that it is about; None for what is about none."""
    kind: str
    """"answer": readable, on the right topic, from the right gateway; else what is wrong with it,
    or "job" or "topology"."""
    result: int = 0
    anonymous: bool = False
    """It names neither tid nor sequence number, and so looks like an answer to any command of
    its gateway and method."""
