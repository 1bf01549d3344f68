"""What the audit log says: who asked for what, from where, and what became of it."""

import enum
from typing import NamedTuple

from dockgate_server.model.caller import Caller


class Outcome(enum.StrEnum):
    """What became of what was asked."""

    ACCEPTED = "accepted"
    """A command was accepted; it is in the store together with its entry."""
    REPLAYED = "replayed"
    """A submission that was made before, with the same idempotency key: nothing is sent."""
    DONE = "done"
    """Anything else that changes something was done."""
    REFUSED = "refused"
    """Nothing was done; ``reason`` says why."""


class Action(enum.StrEnum):
    """What was asked, where it is not a call of the API; that is named as its rpc is."""

    STARTED = "started"
    STOPPED = "stopped"
    RESTORED = "restored"
    GUARDS_RESTORED = "guards_restored"
    """The database did not keep the log append-only any more when the gateway started."""
    KEY_CREATED = "key_created"
    KEY_ROTATED = "key_rotated"
    KEY_ROTATION_FINISHED = "key_rotation_finished"
    KEY_ROTATION_UNDONE = "key_rotation_undone"
    KEY_DISABLED = "key_disabled"
    RESEALED = "resealed"


class Entry(NamedTuple):
    """An entry of the audit log. Never holds a payload, a secret or a signature."""

    at: int
    """UTC milliseconds since 1970; of the first call where there were several."""
    action: str
    """What was asked: the name of the rpc as ``submit_command``, or an :class:`Action`."""
    outcome: str
    tenant: str = ""
    principal: str = ""
    """Who asked, e.g. an API ID."""
    is_proven: bool = True
    """Whether that was proven; else it is what the call claimed."""
    transport: str = ""
    """``grpc``, ``http``, ``cli``, or empty for the gateway itself."""
    peer: str = ""
    """The address at the other end."""
    request_id: str = ""
    reason: str = ""
    """Why it was refused: a name of ``errors.Reason``."""
    target: str = ""
    """What it was about: the id of a command, of a device's request, of an API key."""
    device_id: str = ""
    method: str = ""
    """The command's method, e.g. ``takeoff_to_point``."""
    dangerous: bool = False
    """Whether the schema calls that method, or the device's request, dangerous, or does not know
    that method; of an API key, whether it may submit such."""
    digest: bytes = b""
    """The command's content hash: whoever knows the content can show that it was this."""
    calls: int = 1
    """How many calls this entry stands for."""


def by(caller: Caller, at: int, action: str, outcome: Outcome = Outcome.DONE) -> Entry:
    """What a caller who is known asked for; ``_replace`` adds what it was about."""
    origin = caller.origin
    return Entry(
        at,
        action,
        outcome.value,
        caller.tenant,
        caller.principal,
        True,
        origin.transport,
        origin.peer,
        origin.request_id,
    )
