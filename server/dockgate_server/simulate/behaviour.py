"""How a simulated dock may misbehave, and how one says so in a flag.

Everything here is pure: types, the reading of flag values, and the rule that decides what holds
for a method.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

METHOD_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MOST_SECONDS = 86_400.0
MOST_PER_SECOND = 1000.0


@dataclass(frozen=True, slots=True)
class Normal:
    """Answers as a real dock does; for one method it takes back what was said for all."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Answers correctly, `seconds` after the command came."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Late:
    """Answers correctly but, as it is meant, only when the sender's deadline has passed."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silent:
    """Takes the command and says nothing: no reply, no events."""


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """Answers with the right tid and another method (`method`, else one the dock picks)."""

    method: str | None = None


@dataclass(frozen=True, slots=True)
class WrongTid:
    """Answers with the right method and a tid that nobody sent."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Answers with something that is not JSON (the right answer, cut off in the middle)."""


@dataclass(frozen=True, slots=True)
class NoResult:
    """Answers with data that has no `result`."""


@dataclass(frozen=True, slots=True)
class Twice:
    """Sends the same reply two times."""


@dataclass(frozen=True, slots=True)
class Offline:
    """Leaves the broker on receipt, without an answer, and comes back after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """Answers with exactly this as `data`. A job starts only if its `result` is 0."""

    data: Any


@dataclass(frozen=True, slots=True)
class JobFails:
    """Accepts the job, then reports that it failed at `percent` with the code `result`."""

    result: int = 314004
    percent: int = 50


@dataclass(frozen=True, slots=True)
class MemberFails:
    """Answers the setting of a property, or of one member of a structure, with the code `result`.

    `name` is the property (then all of it fails) or the member. What else was set succeeds.
    """

    name: str
    result: int = 1


Form = Silent | WrongMethod | WrongTid | Unreadable | NoResult | Twice | Offline
Behaviour = Normal | Slow | Late | Form | Reply | JobFails | MemberFails


@dataclass(frozen=True, slots=True)
class Conduct:
    """What holds for one command: when it is answered, in which form, with what."""

    delay: float | None = None
    form: Form | None = None
    reply: Reply | None = None
    failure: JobFails | None = None
    failing: tuple[MemberFails, ...] = ()


def conduct_of(behaviours: Iterable[Behaviour]) -> Conduct:
    """Put behaviours that go together into one conduct.

    Raises:
        ValueError: two of them say the same thing differently (slow and late, silent and twice).
    """
    found: dict[str, Behaviour] = {}
    for behaviour in behaviours:
        match behaviour:
            case Normal():
                continue
            case Slow() | Late():
                part = "delay"
            case Reply():
                part = "reply"
            case JobFails():
                part = "failure"
            case MemberFails():
                part = f"member {behaviour.name}"
            case _:
                part = "form"
        if part in found:
            raise ValueError(f"{name_of(found[part])} and {name_of(behaviour)} exclude each other")
        found[part] = behaviour
    delay, form = found.get("delay"), found.get("form")
    reply, failure = found.get("reply"), found.get("failure")
    return Conduct(
        delay=delay.seconds if isinstance(delay, Slow | Late) else None,
        form=form if isinstance(form, Form) else None,
        reply=reply if isinstance(reply, Reply) else None,
        failure=failure if isinstance(failure, JobFails) else None,
        failing=tuple(one for one in found.values() if isinstance(one, MemberFails)),
    )


class Behaviours:
    """What was said about each method; what is said for one replaces what is said for all."""

    def __init__(self, told: Mapping[str | None, Iterable[Behaviour]] | None = None) -> None:
        """Take what holds at the start; the key None stands for all methods."""
        self._conducts = {method: conduct_of(given) for method, given in (told or {}).items()}

    def tell(self, method: str | None, behaviours: Iterable[Behaviour]) -> None:
        """Say anew how `method` (None: all) is answered; nothing given forgets what was said."""
        told = tuple(behaviours)
        if told:
            self._conducts[method] = conduct_of(told)
        else:
            self._conducts.pop(method, None)

    def conduct(self, method: str) -> Conduct:
        """Return what holds for a command of this method."""
        if method in self._conducts:
            return self._conducts[method]
        return self._conducts.get(None, Conduct())


_WITHOUT_ARGUMENT: dict[str, Behaviour] = {
    "normal": Normal(),
    "silent": Silent(),
    "wrong-tid": WrongTid(),
    "unreadable": Unreadable(),
    "no-result": NoResult(),
    "twice": Twice(),
}
_WITH_SECONDS: dict[str, type[Slow] | type[Late] | type[Offline]] = {
    "slow": Slow,
    "late": Late,
    "offline": Offline,
}
NAMES = (*_WITHOUT_ARGUMENT, *_WITH_SECONDS, "wrong-method", "job-fails", "member-fails")


def name_of(behaviour: Behaviour) -> str:
    """Return the name by which a flag asks for this behaviour (`WrongTid()`: `wrong-tid`)."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(behaviour).__name__).lower()


def parse_behave(text: str) -> tuple[str | None, Behaviour]:
    """Read `[METHOD=]BEHAVIOUR[:ARG]`, for instance `charge_open=slow:2`.

    Raises:
        ValueError: its text says what is wrong and what would be right.
    """
    # An argument may have an "=" of its own.
    parts = re.match(r"([^:=]*)=", text)
    name, colon, argument = text[parts.end() if parts else 0 :].partition(":")
    return (
        parse_method(parts[1]) if parts else None,
        _behaviour(name.strip(), argument.strip() if colon else None),
    )


def parse_reply(text: str) -> tuple[str, Reply]:
    """Read `METHOD=JSON`, for instance `charge_open={"result": 5001}`.

    Raises:
        ValueError: its text says what is wrong and what would be right.
    """
    method, equals, json = text.partition("=")
    if not equals:
        raise ValueError('METHOD=JSON is wanted, for instance charge_open={"result": 5001}')
    try:
        data = orjson.loads(json)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the part after {method}= is not JSON ({error})") from None
    return parse_method(method), Reply(data)


def parse_method(text: str) -> str:
    """Read the name of a method; ValueError if no DJI method could be called that."""
    if not METHOD_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a method name; one looks like camera_recording_start")
    return text


def parse_seconds(text: str) -> float:
    """Read a time in seconds, 0 to 86400; ValueError says what would be right."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_SECONDS:
        raise ValueError(f"{text!r} is not a time in seconds from 0 to 86400, such as 0.5")
    return seconds


def parse_rate(text: str) -> float:
    """Read a number of messages per second, 0 to 1000; ValueError says what would be right."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= MOST_PER_SECOND:
        raise ValueError(f"{text!r} is not a number per second from 0 to 1000, such as 10")
    return rate


def _behaviour(name: str, argument: str | None) -> Behaviour:
    if name in _WITHOUT_ARGUMENT:
        if argument is not None:
            raise ValueError(f"{name} takes no argument; write just {name}")
        return _WITHOUT_ARGUMENT[name]
    if name in _WITH_SECONDS:
        if not argument:
            raise ValueError(f"{name} needs seconds, for instance {name}:2")
        return _WITH_SECONDS[name](parse_seconds(argument))
    if name == "wrong-method":
        return WrongMethod(parse_method(argument) if argument is not None else None)
    if name == "job-fails":
        return _job_fails(argument)
    if name == "member-fails":
        return _member_fails(argument)
    raise ValueError(f"{name!r} is not a behaviour; there are {', '.join(NAMES)}")


def _job_fails(argument: str | None) -> JobFails:
    if argument is None:
        return JobFails()
    parts = re.fullmatch(r"(-?\d{1,9})(?:@(\d{1,3}))?", argument)
    if not parts or int(parts[1]) == 0 or int(parts[2] or 0) > 100:
        raise ValueError(
            f"job-fails:{argument} is wanted as job-fails:RESULT@PERCENT, a result code other than"
            " 0 and a percent up to 100, for instance job-fails:314004@40"
        )
    return JobFails(int(parts[1]), int(parts[2]) if parts[2] else JobFails().percent)


def _member_fails(argument: str | None) -> MemberFails:
    parts = re.fullmatch(rf"({METHOD_NAME.pattern})(?:=(-?\d{{1,9}}))?", argument or "")
    if not parts or (parts[2] and int(parts[2]) == 0):
        raise ValueError(
            f"member-fails:{argument or ''} is wanted as member-fails:NAME=RESULT, a property or a"
            " member of it and a result code other than 0, for instance member-fails:state=2"
        )
    return MemberFails(parts[1], int(parts[2])) if parts[2] else MemberFails(parts[1])
