"""DJI's envelope: what stands around ``data`` in every message, and how to read it.

Source: DJI's topic definition page. Reading is tolerant, as real devices are careless: members
may be missing, null, misspelt (``"timestamp:"``), of the wrong type, and ``data`` can be
anything. Nothing here raises.
"""

from dataclasses import dataclass

import orjson

from dockgate_server.codec import tolerant
from dockgate_server.model.reply import as_integer

DEEPEST = 20
"""How deep objects and lists are nested in what is kept of a message. Protobuf, and so our callers,
read 100 levels of messages, of which JSON in a Struct takes three for each of its own."""

LONGEST_NAME = 200
"""Characters of a tid, a bid or a method that are made use of: a device can make up any."""


@dataclass(slots=True)  # frozen, reading a message would take a quarter longer
class Envelope:
    """A message from a device; nobody changes it."""

    tid: str
    """Empty when the message has none."""
    bid: str
    method: str | None
    data: object
    need_reply: bool
    seq: int | None = None
    """The sequence number of a DRC message."""
    flaw: str = ""
    """Why this is not all that came, where that is so: "is nested too deep"."""

    @property
    def is_last_will(self) -> bool:
        """Whether it is a gateway device's last will, where it came as its status.

        That is a topology without sub-devices and with neither tid nor bid, so nobody could answer
        it. An announcement has both, as its device waits for the answer; where it names no
        sub-devices, the drone is off. A will may have a timestamp: of when it was written.
        """
        if self.tid or self.bid:
            return False
        listed = self.data.get("sub_devices") if isinstance(self.data, dict) else None
        if self.method is None:
            return listed == []
        return self.method == "update_topo" and not listed


def write(*, tid: str, bid: str, method: str | None, data: bytes, timestamp: int) -> bytes:
    """A message to a device.

    Args:
        tid: One message and its answer.
        bid: One piece of business, over all its messages.
        method: The DJI method; None for a property, which names itself in the data.
        data: The `data` member as JSON.
        timestamp: UTC milliseconds since 1970.
    """
    values = {"bid": bid, "data": orjson.Fragment(data), "tid": tid, "timestamp": timestamp}
    if method is not None:
        values["method"] = method
    return orjson.dumps(values)


def read(payload: bytes) -> Envelope | None:
    """A message from a device, or None when there is no JSON object in it that can be read.

    Of one that is nested too deep, or hardly JSON, it is what can be kept, and its flaw.
    """
    flaw = ""
    try:
        values = orjson.loads(payload)
    except orjson.JSONDecodeError:
        values, flaw = tolerant.loads(payload, DEEPEST), "is not valid JSON"
    if not isinstance(values, dict):
        return None
    # Counting the brackets is quick, and enough for almost every message.
    if payload.count(b"{") + payload.count(b"[") > DEEPEST and deeper_than(DEEPEST, values):
        values, flaw = tolerant.cut(values, DEEPEST), "is nested too deep"
    method = values.get("method")
    return Envelope(
        tid=_text(values.get("tid")),
        bid=_text(values.get("bid")),
        method=method if isinstance(method, str) and method else None,
        data=values.get("data"),
        need_reply=values.get("need_reply") in (1, "1"),
        seq=as_integer(values.get("seq")),
        flaw=flaw,
    )


def deeper_than(levels: int, value: object) -> bool:
    """Whether objects and lists are nested deeper than so many levels."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return not levels or any(deeper_than(levels - 1, part) for part in parts)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, dict | list | bool) else str(value)
