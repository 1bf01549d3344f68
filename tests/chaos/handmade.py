"""Packets put together for the tests of the tap."""

from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CONNECT = {
    5: b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00",
    4: b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
}
"""By the level of the protocol: 4 is MQTT 3.1.1."""


def publish(
    topic: str,
    payload: bytes,
    *,
    level: int = 5,
    qos: int = 1,
    duplicate: bool = False,
    retain: bool = False,
    **properties: Any,
) -> bytes:
    """A PUBLISH with packet id 7; its properties are packed by paho, under paho's names."""
    packed = Properties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        setattr(packed, name, value)
    where = topic.encode()
    body = len(where).to_bytes(2, "big") + where
    body += b"\x00\x07" if qos else b""
    body += packed.pack() if level == 5 else b""
    body += payload
    return bytes([0x30 | duplicate << 3 | qos << 1 | retain]) + _size(len(body)) + body


def _size(value: int) -> bytes:
    size = bytearray()
    while value >= 0x80:
        size.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*size, value])
