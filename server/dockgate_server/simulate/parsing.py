"""How a flag says what a simulated dock is to do: behaviours, replies, times and rates. Pure."""

from __future__ import annotations

import math
import re
from typing import Any, get_args

import orjson

from dockgate_server.simulate.behaviour import (
    Behaviour,
    End,
    Ending,
    JobEnds,
    JobFails,
    JobSilent,
    Late,
    MemberFails,
    NoResult,
    Normal,
    Offline,
    Reply,
    Silent,
    Slow,
    Twice,
    Unreadable,
    WrongMethod,
    WrongTid,
)

METHOD_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MOST_SECONDS = 86_400.0
MOST_PER_SECOND = 1000.0

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
_PERCENT = r"(?:@(?P<percent>\d{1,3}))?"
_RESULT = r"(?::(?P<result>-?\d{1,9}))?"
# What stands behind the name of each end of a job, and the words for it.
_JOBS = {
    "job-fails": re.compile(_RESULT + _PERCENT),
    "job-ends": re.compile(rf":(?P<status>{'|'.join(get_args(End))})" + _RESULT + _PERCENT),
    "job-silent": re.compile(_PERCENT),
}
_WANTED = {
    "job-fails": "job-fails:RESULT@PERCENT, a result code other than 0 and a percent up to 100,"
    " for instance job-fails:314008@40",
    "job-ends": f"job-ends:STATUS@PERCENT, one of {', '.join(get_args(End))} and a percent up to"
    " 100, for instance job-ends:partially_done@95",
    "job-silent": "job-silent@PERCENT, a percent up to 100, for instance job-silent@40",
}
NAMES = (*_WITHOUT_ARGUMENT, *_WITH_SECONDS, "wrong-method", *_JOBS, "member-fails")


def parse_behave(text: str) -> tuple[str | None, Behaviour]:
    """Read `[METHOD=]BEHAVIOUR[:ARG][@PERCENT]`, for instance `charge_open=slow:2`.

    Raises:
        ValueError: its text says what is wrong and what would be right.
    """
    # An argument may have an "=" of its own.
    parts = re.match(r"([^:=]*)=", text)
    told = text[parts.end() if parts else 0 :]
    behaviour = _job_ending(told) or _behaviour(told)
    return parse_method(parts[1]) if parts else None, behaviour


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


def _behaviour(text: str) -> Behaviour:
    before, colon, after = text.partition(":")
    name, argument = before.strip(), after.strip() if colon else None
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
    if name == "member-fails":
        return _member_fails(argument)
    raise ValueError(f"{name!r} is not a behaviour; there are {', '.join(NAMES)}")


def _job_ending(text: str) -> Ending | None:
    """Read how a job is to end; None if this is about something else."""
    told = re.match(r"\s*([a-z-]*)", text)
    if told is None or told[1] not in _JOBS:
        return None
    name = told[1]
    parts = _JOBS[name].fullmatch(text[told.end() :].strip())
    said: dict[str, Any] = parts.groupdict() if parts else {}
    percent = int(said.get("percent") or JobFails().percent)
    result = int(said["result"]) if said.get("result") else None
    if not parts or percent > 100 or result == 0:
        raise ValueError(f"{text.strip()} is wanted as {_WANTED[name]}")
    match name:
        case "job-silent":
            return JobSilent(percent)
        case "job-ends":
            return JobEnds(said["status"], percent, result or 0)
        case _:
            return JobFails(result or JobFails().result, percent)


def _member_fails(argument: str | None) -> MemberFails:
    parts = re.fullmatch(rf"({METHOD_NAME.pattern})(?:=(-?\d{{1,9}}))?", argument or "")
    if not parts or (parts[2] and int(parts[2]) == 0):
        raise ValueError(
            f"member-fails:{argument or ''} is wanted as member-fails:NAME=RESULT, a property or a"
            " member of it and a result code other than 0, for instance member-fails:state=2"
        )
    return MemberFails(parts[1], int(parts[2])) if parts[2] else MemberFails(parts[1])
