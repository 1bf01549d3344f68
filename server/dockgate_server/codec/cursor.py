"""The opaque tokens by which a caller goes on where it was."""

import base64
import binascii

from dockgate_server.errors import DockgateError, FieldViolation, validation_failed

PAGE = "page"
"""The kind of a page token: a position in the order of acceptance."""

DEVICE = "device"
"""The kind of a page token of devices: a position in the order of their names."""

LEDGER = "ledger"
"""The kind of a page token of the ledger: a position in the order of its entries."""

REQUESTS = "requests"
"""The kind of a page token of the requests of devices: a position in the order of arrival."""

RESUME = "resume"
"""The kind of a resume token: a position in the order of events."""


EVENTS = "events"
"""The kind of a cursor of a watch of devices' events: a position in their order."""


def write(kind: str, position: int) -> str:
    """A token for a position; the kind keeps one from being taken for the other."""
    return write_name(kind, str(position))


def read(kind: str, token: str, field: str) -> int:
    """The position of a token.

    Raises:
        DockgateError: VALIDATION_FAILED naming ``field``, for a token that is not ours.
    """
    position = read_name(kind, token, field)
    if not (position.isascii() and position.isdigit() and len(position) < 19):
        raise _not_ours(field)
    return int(position)


def write_name(kind: str, name: str) -> str:
    """A token for a position in the order of names."""
    return base64.urlsafe_b64encode(f"{kind}:{name}".encode()).decode().rstrip("=")


def read_name(kind: str, token: str, field: str) -> str:
    """The position of a token of :func:`write_name`.

    Raises:
        DockgateError: VALIDATION_FAILED naming ``field``, for a token that is not ours.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _not_ours(field) from None
    found, _, name = text.partition(":")
    if found != kind:
        raise _not_ours(field)
    return name


def _not_ours(field: str) -> DockgateError:
    return validation_failed([FieldViolation(field, "is not a token of this gateway")])
