"""What every use case asks of a call before anything else, and the tokens of pages."""

from typing import Final

from google.protobuf.message import Message

from dockgate_server import errors
from dockgate_server.codec import cursor, rules
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import Caller, Scope

LARGEST_DATA: Final = 262_144
"""Bytes of the JSON that a device may be sent: as much as a request has by default. It may be
longer than what the caller wrote, as JSON takes six characters for some."""

_USUAL_PAGE: Final = 50


def need(caller: Caller, scope: Scope) -> None:
    """Refuse a caller who lacks the scope.

    Raises:
        DockgateError: FORBIDDEN.
    """
    if scope not in caller.scopes:
        raise DockgateError(
            Reason.FORBIDDEN,
            f"{caller.principal} lacks the scope {scope}",
            metadata={"scope": scope},
        )


def out_of_reach(caller: Caller, device_id: str) -> DockgateError:
    """The caller's credential is limited to other devices than this one."""
    return DockgateError(
        Reason.FORBIDDEN,
        f"{caller.principal} is limited to other devices than {device_id!r}",
        metadata={"device_id": device_id},
    )


def check(request: Message) -> None:
    """Hold a request against the rules beside its fields.

    Raises:
        DockgateError: VALIDATION_FAILED.
    """
    if broken := rules.violations(request):
        raise errors.validation_failed(broken)


def check_data(data: bytes) -> None:
    """Hold what a device is to be sent against what brokers take.

    A broker ends the connection for a message that is too large for it, with all others on it.

    Raises:
        DockgateError: PAYLOAD_TOO_LARGE.
    """
    if len(data) > LARGEST_DATA:
        raise errors.too_large(
            f"what the device is to be sent ({len(data)} bytes of JSON)", LARGEST_DATA
        )


def position(kind: str, page_token: str) -> int | None:
    """Where a page begins; None for the first one.

    Raises:
        DockgateError: VALIDATION_FAILED, for a token that is not ours.
    """
    return cursor.read(kind, page_token, "page_token") if page_token else None


def page_size(asked: int) -> int:
    """How many a page has; 0 asks for as many as is usual."""
    return asked or _USUAL_PAGE


def next_page(kind: str, before: int | None) -> str:
    """The token of the next page; "" behind the last one."""
    return "" if before is None else cursor.write(kind, before)


def beyond(what: str, **metadata: str) -> DockgateError:
    """A watch cannot begin behind what there is."""
    return DockgateError(
        Reason.CURSOR_OUT_OF_RANGE,
        f"the watch was asked to begin behind the newest {what}",
        metadata=metadata,
    )
