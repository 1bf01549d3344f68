"""The one catalogue of reasons for which a call is refused.

Every layer raises :class:`DockgateError` with a :class:`Reason`; each transport translates it in
one place (``rpc/errors.py``, ``http/errors.py``). What a reason means to a caller, and which
metadata it carries, is documented in ``proto/dockgate/downlink/v1/error_reason.proto``.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ERROR_DOMAIN = "dockgate.dev"
"""The ``domain`` of every google.rpc.ErrorInfo."""


class Reason(enum.StrEnum):
    """Why a call was refused; the names are those of ``ErrorReason`` in the schema."""

    INVALID_REQUEST_BODY = "INVALID_REQUEST_BODY"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    UNSUPPORTED_VENDOR = "UNSUPPORTED_VENDOR"
    UNSUPPORTED_COMMAND = "UNSUPPORTED_COMMAND"
    UNAUTHORIZED = "UNAUTHORIZED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    TIMESTAMP_EXPIRED = "TIMESTAMP_EXPIRED"
    NONCE_REPLAYED = "NONCE_REPLAYED"
    COMMAND_NOT_FOUND = "COMMAND_NOT_FOUND"
    DEVICE_NOT_FOUND = "DEVICE_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_FOUND = "NOT_FOUND"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    CURSOR_OUT_OF_RANGE = "CURSOR_OUT_OF_RANGE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    UNAVAILABLE = "UNAVAILABLE"
    FORBIDDEN = "FORBIDDEN"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    COMMAND_NOT_CANCELLABLE = "COMMAND_NOT_CANCELLABLE"
    DEVICE_REQUEST_NOT_FOUND = "DEVICE_REQUEST_NOT_FOUND"
    DEVICE_REQUEST_CLOSED = "DEVICE_REQUEST_CLOSED"
    RATE_LIMITED = "RATE_LIMITED"

    @property
    def http_status(self) -> int:
        """The HTTP status that goes with the reason."""
        return _TRANSPORT[self][0]

    @property
    def grpc_code(self) -> str:
        """The name of the gRPC status code that goes with the reason."""
        return _TRANSPORT[self][1]


_TRANSPORT: Mapping[Reason, tuple[int, str]] = {
    Reason.INVALID_REQUEST_BODY: (400, "INVALID_ARGUMENT"),
    Reason.VALIDATION_FAILED: (400, "INVALID_ARGUMENT"),
    Reason.UNSUPPORTED_VENDOR: (400, "INVALID_ARGUMENT"),
    Reason.UNSUPPORTED_COMMAND: (400, "INVALID_ARGUMENT"),
    Reason.UNAUTHORIZED: (401, "UNAUTHENTICATED"),
    Reason.SIGNATURE_INVALID: (401, "UNAUTHENTICATED"),
    Reason.TIMESTAMP_EXPIRED: (401, "UNAUTHENTICATED"),
    Reason.NONCE_REPLAYED: (401, "UNAUTHENTICATED"),
    Reason.COMMAND_NOT_FOUND: (404, "NOT_FOUND"),
    Reason.DEVICE_NOT_FOUND: (404, "NOT_FOUND"),
    Reason.METHOD_NOT_ALLOWED: (405, "UNIMPLEMENTED"),
    Reason.NOT_FOUND: (404, "UNIMPLEMENTED"),
    Reason.IDEMPOTENCY_CONFLICT: (409, "ALREADY_EXISTS"),
    Reason.PAYLOAD_TOO_LARGE: (413, "RESOURCE_EXHAUSTED"),
    Reason.UNSUPPORTED_MEDIA_TYPE: (415, "INVALID_ARGUMENT"),
    Reason.CURSOR_OUT_OF_RANGE: (400, "OUT_OF_RANGE"),
    Reason.INTERNAL_ERROR: (500, "INTERNAL"),
    Reason.UNAVAILABLE: (503, "UNAVAILABLE"),
    Reason.FORBIDDEN: (403, "PERMISSION_DENIED"),
    Reason.CURSOR_EXPIRED: (410, "OUT_OF_RANGE"),
    Reason.COMMAND_NOT_CANCELLABLE: (409, "FAILED_PRECONDITION"),
    Reason.DEVICE_REQUEST_NOT_FOUND: (404, "NOT_FOUND"),
    Reason.DEVICE_REQUEST_CLOSED: (409, "FAILED_PRECONDITION"),
    Reason.RATE_LIMITED: (429, "RESOURCE_EXHAUSTED"),
}


MOST_VIOLATIONS: Final = 20
"""Of one request. A larger error would not fit into gRPC's trailers, which are 8 KiB by default;
and what a caller sent may come back in an error, but not all of it."""

LONGEST_MESSAGE: Final = 1000

LONGEST_VALUE: Final = 256
"""Characters of a field's name, of what is said of it, and of a value in the metadata."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One offending field: its path as the caller wrote it, and what would be right."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What a refused call was about, for the audit log alone."""

    device_id: str = ""
    method: str = ""
    is_dangerous: bool = False


_NO_SUBJECT = Subject()


class DockgateError(Exception):
    """A call that is refused.

    Args:
        reason: The machine-readable reason.
        message: One sentence for a person: what was wrong, where, and what would be right.
        metadata: The keys that ``error_reason.proto`` lists for the reason.
        violations: The offending fields, for VALIDATION_FAILED.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = tuple(violations)
        self.subject = _NO_SUBJECT


class CannotListen(Exception):
    """An address cannot be listened on; the message says which one and why."""


def cannot_listen(
    protocol: str,
    address: str,
    why: str = "the port is in use, or the address is not this machine's",
) -> CannotListen:
    """For one of ``gRPC`` and ``HTTP``, with the setting that has the address."""
    setting = f"{protocol.lower()}.listen"
    return CannotListen(f"cannot listen for {protocol} on {address} ({setting}): {why}")


def validation_failed(violations: Sequence[FieldViolation]) -> DockgateError:
    """A VALIDATION_FAILED whose message names the offending fields, as many as are given back."""
    listed = "; ".join(f"{v.field}: {v.description}" for v in violations[:MOST_VIOLATIONS])
    return DockgateError(Reason.VALIDATION_FAILED, listed, violations=violations)


def too_large(what: str, limit_bytes: int) -> DockgateError:
    """A PAYLOAD_TOO_LARGE: ``what`` may have so many bytes."""
    return DockgateError(
        Reason.PAYLOAD_TOO_LARGE,
        f"{what} is larger than {limit_bytes} bytes",
        metadata={"limit_bytes": str(limit_bytes)},
    )


def unsupported_vendor(vendor: str, supported: str) -> DockgateError:
    """An UNSUPPORTED_VENDOR: there is but one."""
    return DockgateError(
        Reason.UNSUPPORTED_VENDOR,
        f"there is no vendor {vendor[:100]!r}; the vendor must be {supported!r}",
        metadata={"vendor": vendor, "supported": supported},
    )


def nonce_replayed() -> DockgateError:
    """A signed request has come once more."""
    return DockgateError(
        Reason.NONCE_REPLAYED,
        "the X-Api-Nonce was used before; every request needs one of its own",
    )


def unavailable(message: str) -> DockgateError:
    """An UNAVAILABLE: trying again is right. The message says whether anything was accepted."""
    return DockgateError(Reason.UNAVAILABLE, message)
