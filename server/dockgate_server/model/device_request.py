"""What devices ask for, and what they are answered."""

import enum
from dataclasses import dataclass


class RequestStatus(enum.StrEnum):
    """What became of a device's request."""

    PENDING = "PENDING"
    """It waits for somebody to answer it."""
    REPLIED = "REPLIED"
    """It has been answered."""
    EXPIRED = "EXPIRED"
    """Nobody answered in time, or the answer could not be sent in time."""


class Routing(enum.StrEnum):
    """Who was to answer a request."""

    AUTO = "AUTO"
    """The gateway itself, from its configuration or what it knows."""
    INBOX = "INBOX"
    """A person or program."""


class ReplySource(enum.StrEnum):
    """Who did answer a request."""

    AUTO = "AUTO"
    MANUAL = "MANUAL"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it comes from a device."""

    gateway_id: str
    method: str
    tid: str
    bid: str
    data: object


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request that is to be recorded."""

    id: str
    gateway_id: str
    request_type: str
    tid: str
    bid: str
    payload: bytes
    """The `data` of the request as JSON, without secrets."""
    routing: Routing
    received_at: int
    expires_at: int
    repeat_key: bytes | None = None
    """What it has in common with its repetitions alone; None when it can have none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is to be recorded."""

    code: int | None
    """The `result`; None where the answer has none."""
    message: str
    source: ReplySource
    shown: bytes
    """The `data` of the answer as JSON, without secrets."""
    is_abridged: bool
    """Secrets were left out of :attr:`shown`."""
    by: str
    """The principal of the caller, or the name of the provider."""
    at: int


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A request of a device, as it is now."""

    seq: int
    id: str
    tenant: str
    gateway_id: str
    request_type: str
    tid: str
    bid: str
    payload: bytes
    """The `data` of the request as JSON, without secrets."""
    routing: Routing
    received_at: int
    expires_at: int
    status: RequestStatus
    reply_code: int | None = None
    reply_message: str = ""
    reply_source: ReplySource | None = None
    reply: bytes | None = None
    """The `data` of the answer as JSON, without secrets."""
    is_abridged: bool = False
    """Secrets were left out of :attr:`reply`, so that it cannot be sent again."""
    replied_by: str = ""
    replied_at: int | None = None

    def has_same_reply(self, other: Reply) -> bool:
        """Whether it was answered just so. Secrets are not kept, and so not compared."""
        given = (self.reply_code, self.reply_message, self.reply)
        return given == (other.code, other.message, other.shown)


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests a list or a watch is about; what is empty matches all."""

    gateway_id: str = ""
    request_type: str = ""
    statuses: tuple[RequestStatus, ...] = ()

    def matches(self, request: DeviceRequest) -> bool:
        """Whether the request is one of them."""
        return (
            self.gateway_id in ("", request.gateway_id)
            and self.request_type in ("", request.request_type)
            and (not self.statuses or request.status in self.statuses)
        )
