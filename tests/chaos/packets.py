"""The packets of MQTT 3.1.1 and 5, as far as the tap has to understand them.

Source: OASIS MQTT 5.0, sections 2.1 (fixed header), 2.2.2 (properties), 3.1, 3.3 and 3.4.
"""

from dataclasses import dataclass

_CONNECT, _PUBLISH, _PUBACK = 1, 3, 4
_MQTT_5 = 5

_MESSAGE_EXPIRY = 0x02
_FIXED_SIZES = {0x01: 1, _MESSAGE_EXPIRY: 4}
_TEXTS = {0x03: 1, 0x08: 1, 0x09: 1, 0x26: 2}
"""Properties that are so many strings or blobs, each behind its length."""
_SUBSCRIPTION_IDENTIFIER = 0x0B


class Malformed(ValueError):
    """What came is no MQTT, or a part of it that the tap does not know."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int | None
    """None with QoS 0."""
    duplicate: bool
    retain: bool
    expiry_seconds: int | None


@dataclass(frozen=True, slots=True)
class Puback:
    """A PUBACK."""

    packet_id: int
    reason: int
    """0 where the packet names none, and always with MQTT 3.1.1."""


Packet = Publish | Puback


class Conversation:
    """One connection: both of its directions, and the version that its CONNECT named."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._from_client = bytearray()
        self._from_broker = bytearray()

    def from_client(self, data: bytes) -> list[Packet]:
        """The PUBLISH and PUBACK packets that are complete with these bytes from the client.

        Raises:
            Malformed: The stream cannot be understood, and will not be again.
        """
        return self._packets(self._from_client, data)

    def from_broker(self, data: bytes) -> list[Packet]:
        """The same for the other direction."""
        return self._packets(self._from_broker, data)

    def _packets(self, buffer: bytearray, data: bytes) -> list[Packet]:
        buffer += data
        packets: list[Packet] = []
        while (place := _first_body(buffer)) is not None:
            first, body = buffer[0], _Body(bytes(buffer[place]))
            del buffer[: place.stop]
            kind = first >> 4
            if kind == _CONNECT:
                body.text()  # the protocol's name
                self._version = body.integer(1)
            elif kind == _PUBLISH:
                packets.append(self._publish(first, body))
            elif kind == _PUBACK:
                packets.append(self._puback(body))
        return packets

    def _publish(self, first: int, body: "_Body") -> Publish:
        qos = first >> 1 & 3
        topic = body.text()
        packet_id = body.integer(2) if qos else None
        expiry = body.expiry() if self._is_v5 else None
        return Publish(
            topic=topic,
            payload=body.rest(),
            qos=qos,
            packet_id=packet_id,
            duplicate=bool(first & 8),
            retain=bool(first & 1),
            expiry_seconds=expiry,
        )

    def _puback(self, body: "_Body") -> Puback:
        packet_id = body.integer(2)
        return Puback(packet_id, body.integer(1) if self._is_v5 and body.left else 0)

    @property
    def _is_v5(self) -> bool:
        if self._version is None:
            raise Malformed("the connection does not begin with CONNECT")
        return self._version == _MQTT_5


class _Body:
    """What stands behind the fixed header, read from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def integer(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def text(self) -> str:
        try:
            return self._take(self.integer(2)).decode()
        except UnicodeDecodeError as error:
            raise Malformed(str(error)) from None

    def rest(self) -> bytes:
        return self._take(self.left)

    def expiry(self) -> int | None:
        """Read all properties; of them the message expiry."""
        found = None
        size = self._varying()
        end = self.left - size
        while self.left > end:
            name = self.integer(1)
            if name in _FIXED_SIZES:
                value = self.integer(_FIXED_SIZES[name])
                found = value if name == _MESSAGE_EXPIRY else found
            elif name in _TEXTS:
                for _ in range(_TEXTS[name]):
                    self._take(self.integer(2))
            elif name == _SUBSCRIPTION_IDENTIFIER:
                self._varying()
            else:
                # Topic aliases among them: the topic would have to be looked up.
                raise Malformed(f"a PUBLISH with property {name:#x}")
        return found

    def _varying(self) -> int:
        data = self._data[self._at : self._at + 4]
        found = _varying_integer(data)
        if found is None:
            raise Malformed("a variable byte integer does not end")
        value, size = found
        self._at += size
        return value

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise Malformed("a packet ends in the middle of a field")
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken


def _first_body(buffer: bytearray) -> slice | None:
    """Where the body of the first packet is; None while the packet is not whole."""
    found = _varying_integer(buffer[1:5])
    if found is None:
        if len(buffer) >= 5:
            raise Malformed("the length of a packet does not end")
        return None
    length, size = found
    end = 1 + size + length
    return slice(1 + size, end) if len(buffer) >= end else None


def _varying_integer(data: bytes | bytearray) -> tuple[int, int] | None:
    """A variable byte integer and how many bytes it takes; None when it does not end here."""
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    return None
