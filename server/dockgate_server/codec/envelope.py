"""DJI's envelope: what stands around ``data`` in every message, and how to read it.

Source: DJI's topic definition page. Reading is tolerant, as real devices are careless: members
may be missing, null, misspelt (``"timestamp:"``), of the wrong type, and ``data`` can be
anything. Nothing here raises.
"""

from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message from a device."""

    tid: str
    """Empty when the message has none."""
    bid: str
    method: str | None
    data: object
    need_reply: bool


def write(*, tid: str, bid: str, method: str, data: bytes, timestamp: int) -> bytes:
    """A message to a device.

    Args:
        tid: One message and its answer.
        bid: One piece of business, over all its messages.
        method: The DJI method.
        data: The `data` member as JSON.
        timestamp: UTC milliseconds since 1970.
    """
    return orjson.dumps(
        {
            "bid": bid,
            "data": orjson.Fragment(data),
            "tid": tid,
            "timestamp": timestamp,
            "method": method,
        }
    )


def read(payload: bytes) -> Envelope | None:
    """A message from a device, or None when it is not a JSON object."""
    try:
        values = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(values, dict):
        return None
    method = values.get("method")
    return Envelope(
        tid=_text(values.get("tid")),
        bid=_text(values.get("bid")),
        method=method if isinstance(method, str) and method else None,
        data=values.get("data"),
        need_reply=values.get("need_reply") in (1, "1"),
    )


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, dict | list | bool) else str(value)
