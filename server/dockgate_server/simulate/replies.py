"""What a dock says, as data: envelopes, answers to services, its announcement. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from dockgate_server.simulate.behaviour import (
    Conduct,
    Form,
    NoResult,
    Offline,
    Silent,
    Twice,
    Unreadable,
    WrongMethod,
    WrongTid,
)

# Methods whose services_reply carries an output: the job is issued ("sent") and events follow.
# return_home is documented so too, but a Dock 3 answers it with the result alone.
_OUTPUT_STATUS = dict.fromkeys(
    (
        "charge_close",
        "charge_open",
        "cloud_control_auth_request",
        "cover_close",
        "cover_force_close",
        "cover_open",
        "device_format",
        "device_reboot",
        "drone_close",
        "drone_format",
        "drone_open",
        "esim_activate",
        "ota_create",
        "putter_close",
        "putter_open",
        "rtk_calibration",
    ),
    "sent",
) | {"camera_photo_take": "in_progress"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that the dock has to answer.

    Attributes:
        tid: identifies this exchange; the answer repeats it.
        bid: identifies the business run; the answer and most job events repeat it.
    """

    tid: str
    bid: str

    @property
    def key(self) -> str:
        """What a second message must not have in common with this one."""
        return self.tid

    @property
    def label(self) -> str:
        """What tells it from others, for a log line."""
        return f"tid {self.tid}"

    @property
    def ids(self) -> dict[str, object]:
        """The same for programs."""
        return {"tid": self.tid, "bid": self.bid}


@dataclass(frozen=True, slots=True)
class Command(Asked):
    """A services message as the dock understood it (DJI: topic-definition, services).

    Attributes:
        method: DJI's name of the command.
        data: the parameters, whatever JSON they are.
    """

    method: str
    data: Any

    def member(self, name: str, otherwise: Any = None) -> Any:
        """Return a member of data; `otherwise` if there is none or data is not an object."""
        return self.data.get(name, otherwise) if isinstance(self.data, dict) else otherwise

    def text(self, name: str) -> str:
        """Return a member of data if it is text, else ''."""
        value = self.member(name)
        return value if isinstance(value, str) else ""


def read_message(payload: bytes) -> dict[str, Any]:
    """Read a payload that must be a JSON object.

    Raises:
        ValueError: it is not; the text says in a few words what it is instead.
    """
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ValueError("not JSON") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


def read_command(message: dict[str, Any]) -> Command:
    """Read a services message.

    A dock has no use for a command without tid, bid or method, so these are required; data may
    be anything, also absent.

    Raises:
        ValueError: the text names the member that is missing or not a text.
    """
    tid, bid, method = required(message, "tid", "bid", "method")
    return Command(tid, bid, method, message.get("data"))


def required(message: dict[str, Any], *names: str) -> tuple[str, ...]:
    """Return these members of a message.

    Raises:
        ValueError: the text names the first that is missing, empty or not a text.
    """
    for name in names:
        if not isinstance(message.get(name), str) or not message[name]:
            raise ValueError(f"no {name}")
    return tuple(message[name] for name in names)


def sequence_number(message: dict[str, Any]) -> int | None:
    """Return the seq of a message, None if it has none or one that is not an integer."""
    seq = message.get("seq")
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else None


def answer_data(method: str, conduct: Conduct) -> Any:
    """Return the `data` of the reply to a method."""
    if conduct.reply is not None:
        return conduct.reply.data
    data: dict[str, Any] = {} if isinstance(conduct.form, NoResult) else {"result": 0}
    if method in _OUTPUT_STATUS:
        data["output"] = {"status": _OUTPUT_STATUS[method]}
    return data


def is_accepted(method: str, conduct: Conduct) -> bool:
    """Tell whether the dock acts on this command, so that a job of it would begin."""
    if isinstance(conduct.form, Silent | Offline):
        return False
    data = answer_data(method, conduct)
    result = data.get("result", 0) if isinstance(data, dict) else None
    return result in (0, "0")


def reply_payloads(
    command: Command, conduct: Conduct, *, now_ms: int, stray_tid: str
) -> tuple[bytes, ...]:
    """Return what goes out on services_reply, in order; nothing if the dock stays silent.

    Real replies carry tid, bid, method, timestamp and data, and no gateway.

    Args:
        command: what is answered.
        conduct: how it is answered.
        now_ms: the device's clock, milliseconds since 1970.
        stray_tid: the tid to use where a wrong one is asked for.
    """
    form = conduct.form
    answered = command
    if isinstance(form, WrongMethod):
        answered = replace(command, method=form.method or _other_method(command.method))
    elif isinstance(form, WrongTid):
        answered = replace(command, tid=stray_tid)
    message = {
        "tid": answered.tid,
        "bid": answered.bid,
        "timestamp": now_ms,
        "method": answered.method,
        "data": answer_data(command.method, conduct),
    }
    return in_form(message, form)


def in_form(message: dict[str, Any], form: Form | None) -> tuple[bytes, ...]:
    """Return the payloads by which a message goes out: none, one, a broken one or the same two."""
    if isinstance(form, Silent | Offline):
        return ()
    payload = orjson.dumps(message)
    if isinstance(form, Unreadable):
        # An object that is cut off is never JSON, and looks like what a bad link makes of one.
        return (payload[: len(payload) // 2],)
    return (payload, payload) if isinstance(form, Twice) else (payload,)


def update_topo(*, drone: str, tid: str, bid: str, now_ms: int) -> dict[str, Any]:
    """Return the announcement of a Dock 3 with a Matrice 4TD.

    DJI: dock-to-cloud/mqtt/dock/dock3/device. `domain` is a text, `type` and `sub_type` are
    numbers (product-support), and there is neither gateway nor need_reply.
    """
    drones = [{"sn": drone, **_device("0", 100, 1), "index": "A"}]
    data = {**_device("3", 3, 0), "sub_devices": drones}
    return {"tid": tid, "bid": bid, "timestamp": now_ms, "method": "update_topo", "data": data}


def absence() -> dict[str, Any]:
    """Return what tells that the dock has gone: its last will.

    The broker may say it long after it was written, so it has neither tid and bid nor timestamp.
    By that it is told from an announcement, in which no sub-device means a drone that is off.
    """
    return {"method": "update_topo", "data": {**_device("3", 3, 0), "sub_devices": []}}


def _device(domain: str, kind: int, sub_type: int) -> dict[str, Any]:
    return {
        "domain": domain,
        "type": kind,
        "sub_type": sub_type,
        "device_secret": "",
        "nonce": "",
        "thing_version": "1.2.0",
    }


def _other_method(method: str) -> str:
    return "gimbal_reset" if method != "gimbal_reset" else "camera_aim"
