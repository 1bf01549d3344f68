"""DJI's MQTT topics. Source: DJI's topic definition page.

A serial number is one level of a topic; :data:`~dockgate_server.model.device.SERIAL_NUMBER`
keeps "/", "+" and "#" out of it.
"""

import enum


class Up(enum.Enum):
    """What devices publish and the gateway reads; the value is the subscription."""

    SERVICES_REPLY = "thing/product/+/services_reply"
    SET_REPLY = "thing/product/+/property/set_reply"
    DRC_UP = "thing/product/+/drc/up"
    EVENTS = "thing/product/+/events"
    REQUESTS = "thing/product/+/requests"
    STATUS = "sys/product/+/status"
    OSD = "thing/product/+/osd"
    STATE = "thing/product/+/state"


_BY_SHAPE = {tuple(up.value.replace("/+/", "/").split("/", 2)): up for up in Up}


def services(gateway_id: str) -> str:
    """Where a gateway device takes commands."""
    return f"thing/product/{gateway_id}/services"


def property_set(gateway_id: str) -> str:
    """Where a gateway device takes new values of properties."""
    return f"thing/product/{gateway_id}/property/set"


def drc_down(gateway_id: str) -> str:
    """Where a gateway device takes the messages of direct remote control."""
    return f"thing/product/{gateway_id}/drc/down"


def events_reply(gateway_id: str) -> str:
    """Where a gateway device is told that an event has arrived."""
    return f"thing/product/{gateway_id}/events_reply"


def requests_reply(gateway_id: str) -> str:
    """Where a gateway device is answered what it has asked."""
    return f"thing/product/{gateway_id}/requests_reply"


def status_reply(gateway_id: str) -> str:
    """Where a gateway device is told that its topology has arrived."""
    return f"sys/product/{gateway_id}/status_reply"


def parse(topic: str) -> tuple[Up, str] | None:
    """What a topic is and whose, or None when it is none of those the gateway reads."""
    levels = topic.split("/", 3)
    if len(levels) != 4:
        return None
    first, second, sender, rest = levels
    up = _BY_SHAPE.get((first, second, rest))
    return None if up is None else (up, sender)
