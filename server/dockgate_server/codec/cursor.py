"""The opaque tokens by which a caller goes on where it was."""

import base64
import binascii

from dockgate_server.errors import DockgateError, FieldViolation, validation_failed

PAGE = "page"
"""The kind of a page token: a position in the order of acceptance."""

DEVICE = "device"
"""The kind of a page token of devices: the place of one in their order."""

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
    return _write(kind, str(position))


def read(kind: str, token: str, field: str) -> int:
    """The position of a token.

    Raises:
        DockgateError: VALIDATION_FAILED naming ``field``, for a token that is not ours.
    """
    position = _read(kind, token, field)
    if not (position.isascii() and position.isdigit() and len(position) < 19):
        raise _not_ours(field)
    return int(position)


def write_place(kind: str, place: tuple[str, str]) -> str:
    """A token for a place by name and serial number."""
    return _write(kind, "/".join(place))


def read_place(kind: str, token: str, field: str) -> tuple[str, str]:
    """The place of a token of :func:`write_place`.

    Raises:
        DockgateError: VALIDATION_FAILED naming ``field``, for a token that is not ours.
    """
    # Neither holds a "/", which stands between the levels of a topic.
    name, _, serial_number = _read(kind, token, field).partition("/")
    return name, serial_number


def _write(kind: str, position: str) -> str:
    return base64.urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def _read(kind: str, token: str, field: str) -> str:
    try:
        padded = token + "=" * (-len(token) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _not_ours(field) from None
    found, _, position = text.partition(":")
    if found != kind:
        raise _not_ours(field)
    return position


def _not_ours(field: str) -> DockgateError:
    return validation_failed([FieldViolation(field, "is not a token of this gateway")])
