"""Direct control: what a dock hears on drc/down and says on drc/up, as data. Pure.

DJI: dock-to-cloud/mqtt/dock/dock3/drc and remote-control. These messages have neither tid nor bid:
an answer belongs to a command by its method and its seq, and where there is no seq by its method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dockgate_server.simulate import replies
from dockgate_server.simulate.behaviour import Conduct, NoResult, WrongMethod, WrongTid

# The bit that makes of a seq one that nobody has sent. Every integer of JSON has room for it.
STRAY = 1 << 40


@dataclass(frozen=True, slots=True)
class DrcCommand:
    """A drc/down message as the dock understood it.

    Attributes:
        method: DJI's name of the command.
        seq: the number beside data, None where there is none. The oldest form of some methods has
            it inside data instead, where it ties nothing together.
        data: the parameters, whatever JSON they are.
    """

    method: str
    seq: int | None
    data: Any

    @property
    def key(self) -> tuple[str, int | None]:
        """What a second message must not have in common with this one, if there is a seq."""
        return (self.method, self.seq)

    @property
    def label(self) -> str:
        """What tells it from others, for a log line."""
        return "without seq" if self.seq is None else f"seq {self.seq}"

    @property
    def ids(self) -> dict[str, object]:
        """The same for programs."""
        return {"seq": self.seq}


def read_command(message: dict[str, Any]) -> DrcCommand:
    """Read a drc/down message.

    Raises:
        ValueError: there is no method, or the seq is not an integer.
    """
    (method,) = replies.required(message, "method")
    seq = replies.sequence_number(message)
    if seq is None and message.get("seq") is not None:
        raise ValueError("the seq is not an integer")
    return DrcCommand(method, seq, message.get("data"))


def answer_data(command: DrcCommand, conduct: Conduct) -> Any:
    """Return the `data` of the answer to a command."""
    if conduct.reply is not None:
        return conduct.reply.data
    if command.method == "heart_beat":
        return _echo(command.data)
    data: dict[str, Any] = {} if isinstance(conduct.form, NoResult) else {"result": 0}
    if command.method == "drc_camera_photo_take":
        data["status"] = "in_progress"
    elif command.method == "drc_camera_screen_split":
        # Not in DJI's table, but in its example.
        data = (_echo(command.data) or {}) | data
    return data


def reply_payloads(command: DrcCommand, conduct: Conduct, *, now_ms: int) -> tuple[bytes, ...]:
    """Return what goes out on drc/up, in order; nothing if the dock says nothing.

    stick_control is never answered, and drone_control only where it fails: when the dock is told
    what to reply. A heart_beat comes back as it was.

    Args:
        command: what is answered.
        conduct: how it is answered. A wrong tid is a wrong seq here.
        now_ms: the device's clock, milliseconds since 1970.
    """
    if command.method == "stick_control":
        return ()
    if command.method == "drone_control" and conduct.reply is None:
        return ()
    form, method, seq = conduct.form, command.method, command.seq
    if isinstance(form, WrongMethod):
        method = form.method or _other_method(method)
    elif isinstance(form, WrongTid):
        seq = (seq or 0) ^ STRAY
    message: dict[str, Any] = {"method": method}
    if seq is not None:
        message["seq"] = seq
    elif command.method != "heart_beat":
        message["timestamp"] = now_ms
    message["data"] = answer_data(command, conduct)
    return replies.in_form(message, form)


def _echo(data: Any) -> dict[str, Any] | None:
    """Return what a dock repeats of the parameters: no structures, that it could not write."""
    if not isinstance(data, dict):
        return None
    return {name: value for name, value in data.items() if not isinstance(value, dict | list)}


def _other_method(method: str) -> str:
    return "drc_gimbal_reset" if method != "drc_gimbal_reset" else "drc_camera_aim"
