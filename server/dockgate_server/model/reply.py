"""Reading a device's reply: what it says, and whether it is the answer to a command.

Source: the services-reply page of the platform. The outcome is read from ``data.result`` and,
only if that is absent, from ``data.code``; digits as text count. Nothing here raises, whatever
a device sends.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dockgate_server.model.command import Channel, Command

LONGEST_TEXT = 1000
"""Characters of what a device says that are kept beside its reply, with every event."""

_LONGEST_PATH = 100
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_MESSAGE_MEMBERS = ("message", "msg", "description")
_OUTCOME_MEMBERS = ("result", "code", *_MESSAGE_MEMBERS)


class Reply(NamedTuple):
    """A reply as it came from a gateway device."""

    gateway_id: str
    """From the topic: replies never carry their gateway."""
    tid: str
    method: str | None
    """None when the reply names none, as many do."""
    data: object
    """The parsed `data` member, of any JSON type."""
    raw_data: bytes
    """What is kept of it, as JSON."""
    received_at: int
    channel: Channel = Channel.SERVICES
    seq: int | None = None
    """The sequence number of a DRC reply; None where it has none."""
    note: str = ""
    """That not all of it is kept, where that is so."""

    def explained(self, what: str) -> str:
        """What is said of the reply, with its note."""
        return f"{what}; {self.note}" if self.note else what


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a readable reply says."""

    succeeded: bool
    code: str
    message: str | None
    result: int = field(default=0, compare=False)
    """The number that decided, where ``code`` may say something else."""


def read_outcome(data: object, channel: Channel = Channel.SERVICES) -> Outcome | None:
    """What the reply's ``data`` says, or None when it has no readable result."""
    if not isinstance(data, Mapping):
        return None
    if channel is Channel.PROPERTY_SET:
        return _read_set_outcome(data)
    result = as_integer(data.get("result"))
    code = data.get("code")
    if result is None and data.get("result") is None:
        result = as_integer(code)
    if result is None:
        return None
    return Outcome(
        succeeded=result == 0,
        code=str(result) if code is None or isinstance(code, dict | list) else _as_text(code),
        message=_message(data),
        result=result,
    )


def in_short(data: object) -> dict[str, object] | None:
    """What says how it went, of data that cannot be kept as it is; None for what is no object."""
    if not isinstance(data, Mapping):
        return None
    return {
        name: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for name in _OUTCOME_MEMBERS
        if name in data and not isinstance(value := data[name], dict | list)
    }


def outcome_for(command: Command, reply: Reply) -> Outcome | str:
    """What the reply says of the command, or why it cannot be its answer.

    The caller has found the command by the reply's tid or sequence number and has made sure that
    the reply came from the gateway to which the command went.
    """
    if reply.channel is not command.channel:
        return f"the reply came on {reply.channel}, the command went by {command.channel}"
    if command.channel is Channel.PROPERTY_SET:
        # DJI's has no method, so one that is there says nothing.
        missing = list(_unanswered(json.loads(command.data), reply.data))
        if missing:
            return f"the reply has no result for {', '.join(missing)}"[:LONGEST_TEXT]
    elif reply.method is not None and reply.method != command.command_type:
        return f"the reply is to {reply.method[:100]!r}, not to {command.command_type!r}"
    return read_outcome(reply.data, reply.channel) or "the reply has no readable result"


def _unanswered(sent: object, answered: object, path: str = "") -> Iterator[str]:
    """The properties and members that were sent and have no result in a set_reply.

    A result stands where the value stood, or above it for the whole.
    """
    if isinstance(answered, Mapping) and "result" in answered:
        return
    if not isinstance(sent, dict) or not sent:
        yield path or "anything"
        return
    for name, value in sent.items():
        below = answered.get(name) if isinstance(answered, Mapping) else None
        yield from _unanswered(value, below, _path(path, name))


def _read_set_outcome(data: Mapping[object, object]) -> Outcome | None:
    """What a set_reply says: a result for each property, or for each member of one.

    Source: DJI's topic definition page: 0 done, 1 failed, 2 timed out, others are error codes.
    None when there is none, or one that cannot be read: what became of that is not known.
    """
    results = list(_results(data))
    refused = [(name, code) for name, code in results if code]
    if not results or any(code is None for _, code in results):
        return None
    if not refused:
        return Outcome(succeeded=True, code="0", message=None)
    meaning = {1: "failed", 2: "timed out"}
    listed = ", ".join(
        f"{name or 'all'}: {code} ({meaning.get(code or 0, 'error')})" for name, code in refused
    )
    message = f"not set: {listed}"[:LONGEST_TEXT]
    return Outcome(succeeded=False, code=str(refused[0][1]), message=message)


def _results(data: Mapping[object, object], path: str = "") -> Iterator[tuple[str, int | None]]:
    """Every result with the path of its property; None for one that cannot be read.

    One that stands for the whole hides none of those below it.
    """
    if "result" in data:
        yield path, as_integer(data["result"])
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _results(value, _path(path, name))


def _path(above: str, name: object) -> str:
    """Cut, as a long name stands in the path of everything below it."""
    return (f"{above}.{name}" if above else str(name))[:_LONGEST_PATH]


def _message(data: Mapping[object, object]) -> str | None:
    for member in _MESSAGE_MEMBERS:
        value = data.get(member)
        if isinstance(value, str) and value:
            return value[:LONGEST_TEXT]
    return None


def as_integer(value: object) -> int | None:
    """A number as a device may write it: digits as text count, true and false do not.

    None also for what does not fit into 64 bits: nothing behind us has a place for it.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    return None


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[:LONGEST_TEXT]
