"""Packets as bytes, and a socket that gathers them."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from chaos.packets import Conversation, Puback, Publish

from dockgate_server.bridge import wire
from dockgate_server.bridge.buffering import READ_AHEAD, BufferedSocket

CONNECT = {True: b"\x10\x07\x00\x04MQTT\x05", False: b"\x10\x07\x00\x04MQTT\x04"}


def understood(packet: bytes | bytearray, *, is_v5: bool) -> object:
    """The packet as another reader of MQTT understands it."""
    conversation = Conversation()
    conversation.from_client(CONNECT[is_v5])
    (read,) = conversation.from_client(bytes(packet))
    return read


@pytest.mark.parametrize("is_v5", [True, False])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 300_000])
def test_a_message_is_written_as_mqtt_has_it(size: int, is_v5: bool) -> None:
    """Of any length, with QoS 0."""
    packet = wire.write_publish("a/ü", b"x" * size, is_v5=is_v5)
    expected = Publish(
        "a/ü", b"x" * size, 0, None, duplicate=False, retain=False, expiry_seconds=None
    )
    assert understood(packet, is_v5=is_v5) == expected


@pytest.mark.parametrize("is_v5", [True, False])
@pytest.mark.parametrize("size", [0, 100, 128, 300_000])
@pytest.mark.parametrize("packet_id", [1, 255, 256, 65_535])
@pytest.mark.parametrize("expiry", [1, 30, 2**32 - 1])
def test_a_message_that_is_to_be_acknowledged_is_written_as_mqtt_has_it(
    size: int, packet_id: int, expiry: int, is_v5: bool
) -> None:
    """QoS 1, with its name, and how long it may be kept where MQTT can say so."""
    packet = wire.write_publish(
        "a/ü", b"x" * size, is_v5=is_v5, packet_id=packet_id, expiry_seconds=expiry
    )
    kept = expiry if is_v5 else None
    expected = Publish(
        "a/ü", b"x" * size, 1, packet_id, duplicate=False, retain=False, expiry_seconds=kept
    )
    assert understood(packet, is_v5=is_v5) == expected


@pytest.mark.parametrize("packet_id", [1, 255, 256, 65_535])
def test_an_acknowledgement_is_written_as_mqtt_has_it(packet_id: int) -> None:
    """It says success."""
    assert understood(wire.puback(packet_id), is_v5=True) == Puback(packet_id, 0)


@pytest.mark.parametrize(
    ("is_v5", "properties"),
    [(False, b""), (True, b"\0"), (True, b"\x05\x02\0\0\0\x09"), (True, b"\x80\x01" + b"\0" * 128)],
)
@pytest.mark.parametrize("packet_id", [0, 7])
def test_a_message_is_read_whatever_properties_it_has(
    is_v5: bool, properties: bytes, packet_id: int
) -> None:
    """They mean nothing here; a message with QoS 0 has no packet identifier."""
    number = packet_id.to_bytes(2, "big") if packet_id else b""
    body = bytearray(b"\x00\x03a/b" + number + properties + b"payload")
    first = 0x3A if packet_id else 0x30
    for retain in (False, True):
        read = wire.read_publish(first | retain, body, is_v5=is_v5)
        assert read == ("a/b", b"payload", packet_id, retain)


def test_a_topic_that_is_no_text_can_be_read_all_the_same() -> None:
    """Nobody has such a topic, and the message is refused by that."""
    assert wire.read_publish(0x30, b"\x00\x01\xff", is_v5=False)[0] == "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def pair() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    """A buffered socket that does not block, and the other end."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.setblocking(False)
        yield BufferedSocket(ours), theirs


def test_what_has_come_is_read_ahead(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """And given in the pieces that are asked for."""
    buffered, other = pair
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    other.send(b"abcdef")
    assert (buffered.recv(1), buffered.has_more) == (b"a", True)
    assert (buffered.recv(2), buffered.recv(100), buffered.has_more) == (b"bc", b"def", False)
    with pytest.raises(BlockingIOError):
        buffered.recv(1)
    other.close()
    assert buffered.recv(1) == b""


def test_whole_packets_are_given_at_once(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """Until one that is rare, or not whole; from there on in pieces."""
    buffered, other = pair
    with pytest.raises(BlockingIOError):
        buffered.packets(10)
    one, two = wire.write_publish("a", b"x" * 120, is_v5=False), wire.puback(7)
    long = wire.write_publish("a", b"x" * 130, is_v5=False)
    other.send(b"".join((two, one, long, two, b"\xd0\0", two, two[:3])))
    first = [(0x40, two[2:]), (0x30, bytes(one[2:])), (0x30, bytes(long[3:])), (0x40, two[2:])]
    assert buffered.packets(3) == first[:3]
    assert buffered.packets(3) == first[3:]
    assert buffered.packets(3) == []
    assert buffered.recv(2) == b"\xd0\0"
    assert buffered.packets(3) == [(0x40, two[2:])]
    assert (buffered.packets(3), buffered.has_more) == ([], True)
    assert buffered.recv(100) == two[:3]
    other.close()
    assert (buffered.packets(3), buffered.recv(1)) == ([], b"")


@pytest.mark.parametrize("size", [READ_AHEAD - 6, READ_AHEAD - 5, READ_AHEAD, 3 * READ_AHEAD])
def test_a_packet_that_is_not_whole_is_given_in_pieces(
    pair: tuple[BufferedSocket, socket.socket], size: int
) -> None:
    """It is as long as what is read ahead, or longer."""
    buffered, other = pair
    packet = bytes(wire.write_publish("a", b"x" * size, is_v5=False))
    other.send(packet + wire.puback(7))
    whole = buffered.packets(1)
    if len(packet) <= READ_AHEAD:
        assert whole == [(0x30, packet[3:])]
    else:
        assert whole == []
        read = b""
        while len(read) < len(packet):
            read += buffered.recv(len(packet) - len(read))
        assert read == packet
    rest = buffered.packets(1) or [(buffered.recv(1)[0], buffered.recv(10))]
    assert rest[0][0] == 0x40


def test_a_large_piece_is_read_whole(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """More than is read ahead."""
    buffered, other = pair
    other.send(b"x" * (READ_AHEAD + 10))
    assert len(buffered.recv(READ_AHEAD + 10)) == READ_AHEAD + 10


def test_packets_leave_together(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """With the flush; but for the last one, behind which the socket is closed."""
    buffered, other = pair
    other.setblocking(False)
    assert buffered.send(b"\x40one") == 4
    assert buffered.send(b"\x40two") == 4
    with pytest.raises(BlockingIOError):
        other.recv(100)
    assert buffered.flush()
    assert other.recv(100) == b"\x40one\x40two"
    buffered.send(b"\x40three")
    buffered.send(b"\xe0\x00")
    assert other.recv(100) == b"\x40three\xe0\x00"


def test_what_the_other_side_does_not_take_waits(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    """In order, whatever comes behind it."""
    buffered, other = pair
    sent = bytearray()
    number = 0
    while buffered.flush():
        piece = b"\x40%09d" % number * 100_000  # more than a system takes at once
        buffered.send(piece)
        sent += piece
        number += 1
    buffered.send(b"\x40last")
    sent += b"\x40last"
    assert not buffered.flush()
    received = bytearray()
    while len(received) < len(sent):
        received += other.recv(1_000_000)
        buffered.flush()
    assert received == sent


def test_a_broken_connection_is_said(pair: tuple[BufferedSocket, socket.socket]) -> None:
    """Not swallowed: paho ends the connection then."""
    buffered, other = pair
    other.close()
    buffered.send(b"\x40x")
    with pytest.raises(OSError, match="Broken pipe"):
        buffered.flush()
