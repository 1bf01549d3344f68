"""The packets of MQTT that do not go by way of paho, between bytes and what is said by them.

Most come and go in masses, and paho makes a dozen objects for each, which in a storm of events cost
more than all the rest. Source: OASIS MQTT 5.0, sections 1.5.5, 2.1, 3.3, 3.4 and 3.12.
"""

import struct
from functools import partial
from typing import Final

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PINGREQ: Final = b"\xc0\x00"

_QOS_1 = 0x02
_RETAIN = 0x01
# The length of the properties, the one that there is, and its value.
_expiry = partial(struct.Struct(">BBI").pack, 5, 0x02)


def read_publish(
    first: int, body: bytes | bytearray, *, is_v5: bool
) -> tuple[str, bytes, int, bool]:
    """What a PUBLISH says.

    Topic, payload, packet identifier (0 with QoS 0), and whether the broker had retained it: it
    then comes for the subscription, and not because it was said just now.

    Args:
        first: Its first byte.
        body: What follows its length.
        is_v5: It has properties, too; none of them means anything here.

    Raises:
        IndexError: It ends too early.
    """
    at = 2 + int.from_bytes(body[:2], "big")
    topic = body[2:at].decode(errors="replace")
    packet_id = 0
    if first & 0x06:
        packet_id = int.from_bytes(body[at : at + 2], "big")
        at += 2
    if is_v5:
        length = shift = 0
        while True:
            byte = body[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at += length
    return topic, bytes(body[at:]), packet_id, first & _RETAIN != 0


def write_publish(
    topic: str,
    payload: bytes,
    *,
    is_v5: bool,
    packet_id: int = 0,
    expiry_seconds: int | None = None,
) -> bytearray:
    """A PUBLISH that is not to be retained.

    Args:
        topic: Where to.
        payload: What.
        is_v5: It has properties, too.
        packet_id: Which PUBACK will be its own (QoS 1); 0 when there is to be none (QoS 0).
        expiry_seconds: How long the broker may keep it; 3.1.1 cannot say so.
    """
    name = topic.encode()
    head = len(name).to_bytes(2, "big") + name
    if packet_id:
        head += packet_id.to_bytes(2, "big")
    if is_v5:
        head += b"\0" if expiry_seconds is None else _expiry(expiry_seconds)
    packet = bytearray((PUBLISH | _QOS_1 if packet_id else PUBLISH,))
    left = len(head) + len(payload)
    while left > 0x7F:
        packet.append(left & 0x7F | 0x80)
        left >>= 7
    packet.append(left)
    packet += head
    packet += payload
    return packet


def read_puback(body: bytes | bytearray) -> tuple[int, int]:
    """Packet identifier and reason code of a PUBACK; success where it names none.

    Args:
        body: What follows its length.

    Raises:
        IndexError: It ends too early.
    """
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0


def puback(packet_id: int) -> bytes:
    """A PUBACK that says success."""
    return b"%c\x02%b" % (PUBACK, packet_id.to_bytes(2, "big"))
