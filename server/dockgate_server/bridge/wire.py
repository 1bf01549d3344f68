"""The packets of MQTT that come and go in masses, between bytes and what is said by them.

paho makes a dozen objects for each of them, which in a storm of events cost more than all the
rest. Source: OASIS MQTT 5.0, sections 1.5.5, 2.1, 3.3 and 3.4.
"""

_PUBLISH, _PUBACK = 0x30, 0x40


def read_publish(first: int, body: bytes | bytearray, *, is_v5: bool) -> tuple[str, bytes, int]:
    """Topic, payload and packet identifier (0 with QoS 0) of a PUBLISH.

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
    return topic, bytes(body[at:]), packet_id


def write_publish(topic: str, payload: bytes, *, is_v5: bool) -> bytes:
    """A PUBLISH with QoS 0."""
    name = topic.encode()
    head = len(name).to_bytes(2, "big") + name + (b"\0" if is_v5 else b"")
    length, left = bytearray(), len(head) + len(payload)
    while left > 0x7F:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    return b"%c%b%b%b" % (_PUBLISH, bytes(length), head, payload)


def puback(packet_id: int) -> bytes:
    """A PUBACK that says success."""
    return b"%c\x02%b" % (_PUBACK, packet_id.to_bytes(2, "big"))
