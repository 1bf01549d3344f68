"""The tap between a client and a broker that the test plays."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from support.brokers import free_port

from chaos.evidence import Answered, Published
from chaos.handmade import CONNECT, publish
from chaos.packets import Malformed, Publish
from chaos.tap import Tap, answer_of, command_of

AT = 1_776_859_200_000


def command(tid: str, data: object = None) -> bytes:
    """A command as the server publishes it."""
    content = {"tid": tid, "bid": tid, "method": "cover_open", "data": data}
    payload = json.dumps(content).encode()
    return publish("thing/product/dock-001/services", payload)


@dataclass
class PlayedBroker:
    """Takes connections and keeps what comes."""

    port: int = field(default_factory=free_port)
    connections: "asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]" = field(
        default_factory=asyncio.Queue
    )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take connections while the block runs."""
        server = await asyncio.start_server(
            lambda *streams: self.connections.put_nowait(streams), "127.0.0.1", self.port
        )
        async with server:
            yield


@asynccontextmanager
async def tapped(broker: PlayedBroker) -> AsyncIterator[Tap]:
    """A tap before that broker."""
    async with asyncio.timeout(10), Tap(free_port(), broker.port) as tap:
        yield tap


async def test_bytes_pass_unchanged_and_publishes_count_at_the_source() -> None:
    """Both directions; the broker's reason comes back to the publish that it is about."""
    broker = PlayedBroker()
    async with broker.listening(), tapped(broker) as tap:
        reader, writer = await asyncio.open_connection("127.0.0.1", tap.port)
        sent = CONNECT[5] + command("c-1")
        writer.write(sent)
        from_server, to_server = await broker.connections.get()

        assert await from_server.readexactly(len(sent)) == sent
        to_server.write(b"\x40\x03\x00\x07\x10")
        assert await reader.readexactly(5) == b"\x40\x03\x00\x07\x10"
        (published,) = tap.published
        assert (published.gateway_id, published.tid) == ("dock-001", "c-1")
        assert published.reason == 0x10
        writer.close()
        assert await from_server.read() == b""
        to_server.close()


async def test_what_leaves_behind_a_dead_broker_still_counts() -> None:
    """The server may have been about to send when the broker died: it left all the same."""
    broker = PlayedBroker()
    async with broker.listening(), tapped(broker) as tap:
        reader, writer = await asyncio.open_connection("127.0.0.1", tap.port)
        writer.write(CONNECT[5])
        _, to_server = await broker.connections.get()
        to_server.transport.abort()
        assert await reader.read() == b""  # the server is told

        # In more than one piece: the first that cannot be passed on must not be the last.
        writer.write(command("c-1", data="x" * 1_000_000))
        writer.write_eof()
        await asyncio.wait(tap._connections)

        assert [published.tid for published in tap.published] == ["c-1"]
        writer.close()


async def test_a_server_is_hung_up_on_while_the_broker_is_away() -> None:
    """And finds it again on the same port."""
    broker = PlayedBroker()
    async with tapped(broker) as tap:
        reader, writer = await asyncio.open_connection("127.0.0.1", tap.port)
        assert await reader.read() == b""
        writer.close()

        async with broker.listening():
            _, writer = await asyncio.open_connection("127.0.0.1", tap.port)
            _, to_server = await broker.connections.get()
            to_server.close()
            writer.close()


async def test_a_stream_that_cannot_be_read_is_said_and_passes_on() -> None:
    """From then on the count means nothing, and the run must not be called clean."""
    broker = PlayedBroker()
    async with broker.listening(), tapped(broker) as tap:
        _, writer = await asyncio.open_connection("127.0.0.1", tap.port)
        writer.write(b"\x30\x03\x00\x01a" + command("c-1"))
        from_server, to_server = await broker.connections.get()

        await from_server.readexactly(5 + len(command("c-1")))
        writer.write(command("c-2"))
        await from_server.readexactly(len(command("c-2")))
        assert tap.problems == [
            "the server's bytes are not understood: the connection does not begin with CONNECT"
        ]
        writer.close()
        to_server.close()


def found_in(topic: str, content: object) -> Published | None:
    """The command in a PUBLISH."""
    return command_of(Publish(topic, json.dumps(content).encode(), 1, 7, False, False, 30), AT)


async def test_a_reply_counts_when_the_server_acknowledges_it() -> None:
    """From then on the broker has forgotten it, and only the record knows."""
    broker = PlayedBroker()
    async with broker.listening(), tapped(broker) as tap:
        reader, writer = await asyncio.open_connection("127.0.0.1", tap.port)
        writer.write(CONNECT[5])
        from_server, to_server = await broker.connections.get()
        await from_server.readexactly(len(CONNECT[5]))
        sent = publish("thing/product/d/services_reply", b'{"tid": "c-1", "data": null}')
        to_server.write(sent)
        await reader.readexactly(len(sent))
        assert tap.answered == []

        writer.write(b"\x40\x02\x00\x07")
        await from_server.readexactly(4)

        assert tap.answered == [Answered("d", "c-1", None)]
        writer.close()
        to_server.close()


@pytest.mark.parametrize(
    ("topic", "payload", "found"),
    [
        ("thing/product/d/services_reply", b'{"tid": "t"}', Answered("d", "t", None)),
        ("thing/product/d/property/set_reply", b'{"tid": "t"}', Answered("d", "t", None)),
        ("thing/product/d/drc/up", b'{"seq": 9, "method": "m"}', Answered("d", None, 9)),
        ("thing/product/d/drc/up", b'{"method": "osd_info_push"}', None),
        ("thing/product/d/services_reply", b"{", None),
        ("thing/product/d/events", b'{"tid": "t"}', None),
    ],
)
def test_a_reply_is_known_on_each_channel(
    topic: str, payload: bytes, found: Answered | None
) -> None:
    """What names no command is no evidence of anything."""
    assert answer_of(Publish(topic, payload, 1, 7, False, False, None)) == found


@pytest.mark.parametrize(
    ("topic", "content", "key"),
    [
        ("thing/product/d/services", {"tid": "t", "data": None}, ("t", None)),
        ("thing/product/d/property/set", {"tid": "t", "data": {}}, ("t", None)),
        ("thing/product/d/drc/down", {"seq": 9, "data": {}, "tid": "?"}, (None, 9)),
    ],
)
def test_a_command_is_known_on_each_channel(
    topic: str, content: object, key: tuple[str | None, int | None]
) -> None:
    """By its tid, or on drc by its number."""
    found = found_in(topic, content)
    assert found is not None
    assert (found.gateway_id, (found.tid, found.seq)) == ("d", key)


@pytest.mark.parametrize(
    "topic", ["thing/product/d/events_reply", "sys/product/d/status_reply", "other/services"]
)
def test_an_answer_to_a_device_is_no_command(topic: str) -> None:
    """It carries the device's tid, and may well go twice."""
    assert found_in(topic, {"tid": "t"}) is None


@pytest.mark.parametrize("content", [{"data": None}, [], "text"])
def test_a_command_without_a_key_is_malformed(content: object) -> None:
    """It could not be counted."""
    with pytest.raises(Malformed, match="a command on"):
        found_in("thing/product/d/services", content)
