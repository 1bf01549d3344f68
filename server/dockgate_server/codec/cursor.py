"""The opaque tokens by which a caller goes on where it was."""

import base64
import binascii

from dockgate_server.errors import FieldViolation, validation_failed

PAGE = "page"
"""The kind of a page token: a position in the order of acceptance."""

RESUME = "resume"
"""The kind of a resume token: a position in the order of events."""


def write(kind: str, position: int) -> str:
    """A token for a position; the kind keeps one from being taken for the other."""
    return base64.urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def read(kind: str, token: str, field: str) -> int:
    """The position of a token.

    Raises:
        DockgateError: VALIDATION_FAILED naming ``field``, for a token that is not ours.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        found, _, position = text.partition(":")
        if found == kind and position.isdigit() and len(position) < 19:
            return int(position)
    except (binascii.Error, UnicodeError, ValueError):
        pass
    raise validation_failed([FieldViolation(field, "is not a token of this gateway")]) from None
