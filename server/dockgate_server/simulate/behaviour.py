"""How a simulated dock may misbehave, and the rule that decides what holds for a method. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


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
    """Accepts the job, then reports that it failed at `percent` with the code `result`.

    A flight that fails in the air, which is at 90 percent, tells its break point.
    """

    result: int = 314004
    percent: int = 50


End = Literal["canceled", "partially_done", "rejected", "timeout"]
"""The ways in which a job can end beside success and failure, in DJI's words."""


@dataclass(frozen=True, slots=True)
class JobEnds:
    """Accepts the job, then reports at `percent` that it has ended so."""

    status: End
    percent: int = 50
    result: int = 0


@dataclass(frozen=True, slots=True)
class JobSilent:
    """Accepts the job, reports its progress up to `percent` and then nothing any more."""

    percent: int = 50


@dataclass(frozen=True, slots=True)
class MemberFails:
    """Answers the setting of a property, or of one member of a structure, with the code `result`.

    `name` is the property (then all of it fails) or the member. What else was set succeeds.
    """

    name: str
    result: int = 1


Form = Silent | WrongMethod | WrongTid | Unreadable | NoResult | Twice | Offline
Ending = JobFails | JobEnds | JobSilent
Behaviour = Normal | Slow | Late | Form | Reply | Ending | MemberFails


@dataclass(frozen=True, slots=True)
class Conduct:
    """What holds for one command: when it is answered, in which form, with what."""

    delay: float | None = None
    form: Form | None = None
    reply: Reply | None = None
    ending: Ending | None = None
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
            case JobFails() | JobEnds() | JobSilent():
                part = "ending"
            case MemberFails():
                part = f"member {behaviour.name}"
            case _:
                part = "form"
        if part in found:
            raise ValueError(f"{name_of(found[part])} and {name_of(behaviour)} exclude each other")
        found[part] = behaviour
    delay, form = found.get("delay"), found.get("form")
    reply, ending = found.get("reply"), found.get("ending")
    return Conduct(
        delay=delay.seconds if isinstance(delay, Slow | Late) else None,
        form=form if isinstance(form, Form) else None,
        reply=reply if isinstance(reply, Reply) else None,
        ending=ending if isinstance(ending, Ending) else None,
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


def name_of(behaviour: Behaviour) -> str:
    """Return the name by which a flag asks for this behaviour (`WrongTid()`: `wrong-tid`)."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(behaviour).__name__).lower()
