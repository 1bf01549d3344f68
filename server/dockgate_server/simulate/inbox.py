"""What comes from the cloud: every message for the record, and a command in each of its forms."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import aiomqtt

from dockgate_server.simulate import drc, properties, replies
from dockgate_server.simulate.records import Received

Asked = replies.Command | properties.Setting | drc.DrcCommand


def topics(gateway: str) -> tuple[str, ...]:
    """Return what a dock subscribes to."""
    return (
        f"thing/product/{gateway}/services",
        f"thing/product/{gateway}/property/set",
        f"thing/product/{gateway}/drc/down",
        f"thing/product/{gateway}/events_reply",
        f"thing/product/{gateway}/requests_reply",
        f"sys/product/{gateway}/status_reply",
    )


def asked(on: str, message: dict[str, Any]) -> Asked | None:
    """Read a message on a topic with this last part; None if commands do not come there.

    Raises:
        ValueError: it is a command that makes no sense to a dock; the text says why.
    """
    match on:
        case "services":
            return replies.read_command(message)
        case "set":
            return properties.read_setting(message)
        case "down":
            return drc.read_command(message)
        case _:
            return None


def received(message: aiomqtt.Message) -> Received:
    """Take down a message, readable or not."""
    payload = bytes(message.payload)
    read: dict[str, Any] | None = None
    with suppress(ValueError):
        read = replies.read_message(payload)

    def text(name: str) -> str | None:
        value = read.get(name) if read else None
        return value if isinstance(value, str) else None

    topic = str(message.topic)
    return Received(
        topic=topic,
        on=topic.rpartition("/")[2],
        payload=payload,
        message=read,
        tid=text("tid"),
        bid=text("bid"),
        method=text("method"),
        seq=replies.sequence_number(read) if read else None,
        data=read.get("data") if read else None,
        # paho sets the attribute only if the property was in the message.
        expiry_seconds=getattr(message.properties, "MessageExpiryInterval", None),
        qos=message.qos,
        retained=message.retain,
    )
