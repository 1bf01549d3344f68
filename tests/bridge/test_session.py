"""One connection, byte by byte: what is written, what is read, and what becomes of the rest."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import aiomqtt
import pytest
from chaos.packets import Conversation, Puback, Publish
from support.log import Log

from dockgate_server.bridge import retained
from dockgate_server.bridge import session as session_module
from dockgate_server.bridge.buffering import BufferedSocket
from dockgate_server.bridge.interface import (
    Acknowledgement,
    ConnectionLost,
    Inbound,
    NotConnected,
    Verdict,
)
from dockgate_server.bridge.pulse import PATIENCE_SECONDS
from dockgate_server.bridge.session import Session

CONNECT = {True: b"\x10\x07\x00\x04MQTT\x05", False: b"\x10\x07\x00\x04MQTT\x04"}
PINGRESP = b"\xd0\x00"
TOPIC = "thing/product/dock-001/services"


@dataclass
class Link:
    """A session, and the broker's end of its connection."""

    session: Session
    other: socket.socket
    said: Conversation
    messages: list[Inbound]

    def publish(self, payload: bytes = b"{}") -> "asyncio.Future[Acknowledgement]":
        return self.session.publish(TOPIC, payload, 30)

    async def sent(self) -> list[Puback | Publish]:
        """What the broker gets with the loop's next turn."""
        await asyncio.sleep(0)
        return self.said.from_client(self.other.recv(1_000_000))

    def answer(self, data: bytes, piece: int = 1_000_000) -> None:
        """Let the broker send these bytes, and the session read them, piece by piece."""
        for at in range(0, len(data), piece):
            self.other.sendall(data[at : at + piece])
            while self._has_come():
                self.session._read_some()

    def _has_come(self) -> bool:
        sock = self.session._socket
        return sock is not None and (sock.has_more or bool(select.select([sock], [], [], 0)[0]))


@pytest.fixture(params=[True, False], ids=["5", "3.1.1"])
def is_v5(request: pytest.FixtureRequest) -> bool:
    """The version that is spoken."""
    return bool(request.param)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket that does not block, and the other end."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.setblocking(False)
        theirs.settimeout(5)
        yield ours, theirs


@pytest.fixture
async def link(is_v5: bool, ends: tuple[socket.socket, socket.socket]) -> AsyncIterator[Link]:
    """A session that believes to be connected."""
    version = aiomqtt.ProtocolVersion.V5 if is_v5 else aiomqtt.ProtocolVersion.V311
    messages: list[Inbound] = []
    session = Session(
        version, {"hostname": "broker", "identifier": "me", "keepalive": 15}, 0, messages.append
    )
    session._paho._sock = BufferedSocket(ends[0])  # type: ignore[assignment]
    said = Conversation()
    said.from_client(CONNECT[is_v5])
    yield Link(session, ends[1], said, messages)
    session._paho._sock = None
    if session._watchdog is not None:
        session._watchdog.cancel()
    session._give_up_pending()


def puback(packet_id: int | None, rest: bytes = b"") -> bytes:
    assert packet_id is not None
    return bytes((0x40, 2 + len(rest))) + packet_id.to_bytes(2, "big") + rest


def message(topic: str, payload: bytes, packet_id: int, *, is_v5: bool, first: int = 0x32) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic.encode() + packet_id.to_bytes(2, "big")
    body += (b"\0" if is_v5 else b"") + payload
    length, left = bytearray(), len(body)
    while left > 0x7F:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((first, *length, left)) + body


async def test_messages_of_one_turn_leave_together_with_the_next(link: Link, is_v5: bool) -> None:
    """QoS 1, not retained, each under a name of its own, and with MQTT 5 they expire."""
    link.other.setblocking(False)
    for number in range(3):
        link.publish(b"%d" % number)
    with pytest.raises(BlockingIOError):
        link.other.recv(1)
    sent = await link.sent()
    first = session_module._FIRST_PACKET_ID + 1
    assert sent == [
        Publish(
            TOPIC,
            b"%d" % number,
            1,
            first + number,
            duplicate=False,
            retain=False,
            expiry_seconds=30 if is_v5 else None,
        )
        for number in range(3)
    ]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 1000, 1_000_000])
async def test_what_comes_is_taken_whole_however_it_is_cut(
    link: Link, is_v5: bool, piece: int
) -> None:
    """Messages of any length, acknowledgements, and what is paho's between them."""
    futures = [link.publish() for _ in range(3)]
    ids = [one.packet_id for one in await link.sent() if isinstance(one, Publish)]
    sizes = [0, 200] if piece < 1000 else [0, 200, 20_000]
    said = b""
    for number, size in enumerate(sizes):
        said += puback(ids[number]) + message("a/b", b"x" * size, number + 1, is_v5=is_v5)
        said += PINGRESP
    if len(sizes) < len(ids):
        said += puback(ids[2])

    link.answer(said, piece)

    assert [one.result().verdict for one in futures] == [Verdict.TAKEN] * 3
    assert [(one.topic, len(one.payload)) for one in link.messages] == [("a/b", s) for s in sizes]
    for one in link.messages:
        one.acknowledge()
    assert await link.sent() == [Puback(number + 1, 0) for number in range(len(sizes))]


@pytest.mark.parametrize("is_v5", [True])
@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"", Acknowledgement(Verdict.TAKEN, "Success")),
        (b"\x00\x00", Acknowledgement(Verdict.TAKEN, "Success")),
        (b"\x10", Acknowledgement(Verdict.NOBODY_LISTENS, "No matching subscribers")),
        (b"\x87", Acknowledgement(Verdict.REFUSED, "Not authorized")),
        (b"\x97\x06\x1f\x00\x03why", Acknowledgement(Verdict.REFUSED, "Quota exceeded")),
    ],
)
async def test_the_reason_of_an_acknowledgement_is_told(
    link: Link, rest: bytes, expected: Acknowledgement
) -> None:
    """Whatever properties stand behind it."""
    future = link.publish()
    (sent,) = await link.sent()
    link.answer(puback(sent.packet_id, rest))
    assert future.result() == expected


@pytest.mark.parametrize("is_v5", [True])
@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize("wrong", [b"\x40\x01\x00", b"\x40\x00", b"unknown"])
async def test_an_acknowledgement_that_is_none_ends_the_connection(
    link: Link, wrong: bytes, piece: int
) -> None:
    """Nobody knows then what the broker meant: the message may have arrived, or not."""
    future = link.publish()
    (sent,) = await link.sent()
    link.answer(puback(sent.packet_id, b"\x01") if wrong == b"unknown" else wrong, piece)
    assert link.session._socket is None
    assert not future.done()
    link.session._give_up_pending()
    with pytest.raises(ConnectionLost):
        future.result()


async def test_an_acknowledgement_of_nothing_means_nothing(link: Link) -> None:
    """Nor does a second one of the same."""
    future = link.publish()
    (sent,) = await link.sent()
    link.answer(puback(7) + puback(sent.packet_id) + puback(sent.packet_id))
    assert future.result().verdict is Verdict.TAKEN
    assert link.session._socket is not None


async def test_no_two_messages_that_wait_have_the_same_name(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the names begin anew while one still waits; and none has one of paho's."""
    monkeypatch.setattr(session_module, "_LAST_PACKET_ID", session_module._FIRST_PACKET_ID + 3)
    waiting = link.publish()
    (sent,) = await link.sent()
    names = []
    for _ in range(10):
        future = link.publish()
        (other,) = await link.sent()
        names.append(other.packet_id)
        link.answer(puback(other.packet_id))
        assert future.done()
    first = session_module._FIRST_PACKET_ID
    assert set(names) == set(range(first, first + 4)) - {sent.packet_id}
    assert not waiting.done()
    link.answer(puback(sent.packet_id))
    assert waiting.result().verdict is Verdict.TAKEN


async def test_there_is_a_name_for_as_many_messages_as_may_wait(link: Link) -> None:
    """A broker may allow as many as there are names, of which some are paho's."""
    waiting = link.publish()
    pending = link.session._pending
    for _ in range(link.session.receive_maximum - 1):
        pending[link.session._free_packet_id()] = (0.0, waiting)
    assert len(pending) == link.session.receive_maximum
    assert link.session._free_packet_id() not in pending


async def test_what_has_not_left_when_the_connection_ends_never_leaves(link: Link) -> None:
    """Not even in the same turn of the loop, in which it was taken."""
    future = link.publish()
    link.session._paho._sock_close()
    await asyncio.sleep(0)
    assert link.other.recv(100) == b""
    link.session._give_up_pending()
    with pytest.raises(ConnectionLost):
        future.result()
    with pytest.raises(NotConnected):
        link.publish()


async def test_a_connection_that_breaks_while_it_is_written_to_has_ended(link: Link) -> None:
    """What was to leave with it is lost, and what comes later is not taken."""
    future = link.publish()
    link.other.close()
    await asyncio.sleep(0)
    assert link.session._socket is None
    assert not future.done()
    with pytest.raises(NotConnected):
        link.session.stream(TOPIC, b"{}", 1)
    link.session.answer(TOPIC, b"{}")


async def test_one_that_is_streamed_into_a_broken_connection_is_lost(link: Link) -> None:
    """It is told at once."""
    link.other.close()
    with pytest.raises(ConnectionLost):
        link.session.stream(TOPIC, b"{}", 1)


async def test_what_the_broker_had_retained_is_acknowledged_and_dropped(
    link: Link, is_v5: bool, log: Log
) -> None:
    """Nobody knows how old it is. Each topic is named once."""
    old = [
        message(topic, b"old", number, is_v5=is_v5, first=0x33)
        for number, topic in enumerate(("a/b", "a/b", "a/c"), start=7)
    ]
    link.answer(b"".join((*old, message("a/b", b"new", 10, is_v5=is_v5))))
    assert [one.payload for one in link.messages] == [b"new"]
    assert await link.sent() == [Puback(7, 0), Puback(8, 0), Puback(9, 0)]
    named = [one["topic"] for one in log if one["event"] == "retained_message_dropped"]
    assert named == ["a/b", "a/c"]


async def test_only_so_many_topics_of_retained_messages_are_named(
    link: Link, is_v5: bool, log: Log
) -> None:
    """A broker may have retained something for each of thousands of devices."""
    for number in range(retained.MOST_NAMED + 3):
        link.answer(message(f"a/{number}", b"old", number + 1, is_v5=is_v5, first=0x33))
    named = [one for one in log if one["event"] == "retained_message_dropped"]
    assert len(named) == retained.MOST_NAMED


PINGREQ = b"\xc0\x00"


async def test_one_that_is_streamed_has_left_when_the_call_returns(link: Link) -> None:
    """And behind what was handed over before, with the question whether the broker keeps up."""
    link.publish(b"first")
    link.session.stream(TOPIC, b"second", 1)
    came = link.other.recv(1_000_000)
    assert came.index(b"first") < came.index(b"second")
    assert came.count(PINGREQ) == 1


async def test_nothing_is_streamed_to_a_broker_that_takes_nothing_more(
    link: Link, ends: tuple[socket.socket, socket.socket]
) -> None:
    """What is still unsent would reach the device late, in a burst."""
    with suppress(BlockingIOError):
        while True:
            ends[0].send(b"x" * 65_536)
    with pytest.raises(ConnectionLost):
        link.session.stream(TOPIC, b"{}", 1)
    unsent = len(link.session._paho._sock._unsent)  # type: ignore[union-attr]
    for _ in range(100):
        with pytest.raises(NotConnected):
            link.session.stream(TOPIC, b"{}", 1)
    assert len(link.session._paho._sock._unsent) == unsent  # type: ignore[union-attr]


async def test_nothing_is_streamed_to_a_broker_that_does_not_answer(link: Link) -> None:
    """Its kernel takes all that comes, and ours before it."""
    now = 0.0
    link.session._pulse._now = lambda: now
    link.session.stream(TOPIC, b"{}", 1)
    now = PATIENCE_SECONDS
    with pytest.raises(NotConnected):
        link.session.stream(TOPIC, b"{}", 1)
    link.answer(PINGRESP)
    link.session.stream(TOPIC, b"{}", 1)
