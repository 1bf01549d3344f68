"""What devices tell by themselves."""

from dataclasses import dataclass

from dockgate_server.model.transitions import RecordJob


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is to be recorded."""

    gateway_id: str
    method: str
    tid: str
    bid: str
    need_reply: bool
    data: bytes
    """The `data` as JSON."""
    received_at: int
    repeat_key: bytes | None = None
    """Two events with the same one are the same event, told twice; None for one that is never a
    repetition."""
    jobs: tuple[RecordJob, ...] = ()
    """What it says of jobs."""


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """An event that has been recorded."""

    seq: int
    tenant: str
    gateway_id: str
    method: str
    tid: str
    bid: str
    need_reply: bool
    data: bytes
    """The `data` as JSON."""
    received_at: int

    @property
    def size(self) -> int:
        """How many bytes are in what may be long of it."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Repetition:
    """An event that had been recorded before."""

    seq: int
    answered_at: int | None
    """When it was answered; None when it was not, or that was not written down."""
