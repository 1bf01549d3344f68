"""Properties: what a dock hears on property/set and says on property/set_reply, as data. Pure.

DJI: topic-definition, property/set. Neither message has a method; the answer repeats the names that
were set, each with a result of its own (0 done, 1 failed, 2 timeout, else an error code).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dockgate_server.simulate import replies
from dockgate_server.simulate.behaviour import Conduct, NoResult, WrongMethod, WrongTid

# "53-0-0": type, subtype and position of a camera; its properties stand below this key.
PAYLOAD_INDEX = re.compile(r"\d+-\d+-\d+")


@dataclass(frozen=True, slots=True)
class Setting(replies.Asked):
    """A property/set message as the dock understood it.

    Attributes:
        data: names and values; at least one property is among them.
    """

    data: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The properties that are set; those of a camera without the payload index above them."""
        return _names(self.data)

    @property
    def method(self) -> str:
        """The first of them: by its name the dock is told how to answer the message."""
        return self.names[0]


def read_setting(message: dict[str, Any]) -> Setting:
    """Read a property/set message.

    Raises:
        ValueError: the text names the member that is missing or not a text.
    """
    tid, bid = replies.required(message, "tid", "bid")
    data = message.get("data")
    if not isinstance(data, dict) or not _names(data):
        raise ValueError("no property")
    return Setting(tid, bid, data)


def answer_data(setting: Setting, conduct: Conduct) -> Any:
    """Return the `data` of the answer: a result where each value stood."""
    if conduct.reply is not None:
        return conduct.reply.data
    results = {failing.name: failing.result for failing in conduct.failing}
    data = setting.data
    if isinstance(conduct.form, WrongMethod):
        data = {conduct.form.method or _other_property(setting.method): 0}

    def result(*names: str) -> dict[str, int]:
        if isinstance(conduct.form, NoResult):
            return {}
        return {"result": next((results[name] for name in names if name in results), 0)}

    def answer(name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict) and value:
            return {member: result(member, name) for member in value}
        return result(name)

    return {
        name: {inner: answer(inner, below) for inner, below in value.items()}
        if _is_camera(name, value)
        else answer(name, value)
        for name, value in data.items()
    }


def reply_payloads(
    setting: Setting, conduct: Conduct, *, now_ms: int, stray_tid: str
) -> tuple[bytes, ...]:
    """Return what goes out on property/set_reply, in order; nothing if the dock stays silent.

    Args:
        setting: what is answered.
        conduct: how it is answered. A wrong method is another property here.
        now_ms: the device's clock, milliseconds since 1970.
        stray_tid: the tid to use where a wrong one is asked for.
    """
    message = {
        "tid": stray_tid if isinstance(conduct.form, WrongTid) else setting.tid,
        "bid": setting.bid,
        "timestamp": now_ms,
        "data": answer_data(setting, conduct),
    }
    return replies.in_form(message, conduct.form)


def _names(data: dict[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    for name, value in data.items():
        names.extend(value if _is_camera(name, value) else (name,))
    return tuple(names)


def _is_camera(name: str, value: Any) -> bool:
    return PAYLOAD_INDEX.fullmatch(name) is not None and isinstance(value, dict)


def _other_property(name: str) -> str:
    return "height_limit" if name != "height_limit" else "night_lights_state"
