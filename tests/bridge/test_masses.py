"""The bridge when very much comes and goes at once."""

import asyncio
import socket
from contextlib import closing

import pytest
from support.bridge_on_broker import running_bridge
from support.brokers import RunningBroker

from dockgate_server.bridge import session, wire

pytestmark = pytest.mark.broker

EVENTS = "thing/product/dock-001/events"
REPLY = f"{EVENTS}_reply"
_CONNECT = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me"


def connected(broker: RunningBroker, listens_to: str) -> socket.socket:
    """A client that blocks, so that nothing else has a turn meanwhile."""
    client = socket.create_connection(("127.0.0.1", broker.port), timeout=20)
    name = listens_to.encode()
    subscription = b"\x00\x01" + len(name).to_bytes(2, "big") + name + b"\x00"
    client.sendall(_CONNECT + bytes((0x82, len(subscription))) + subscription)
    _take(client, 4 + 5)  # CONNACK and SUBACK
    return client


def _take(client: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        piece = client.recv(size - len(taken))
        assert piece, "the broker has hung up"
        taken += piece
    return taken


async def test_what_has_been_read_ahead_is_handled_without_anything_more_coming(
    mosquitto: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part in each turn of the loop, so that others have theirs, and all in the end."""
    monkeypatch.setattr(session, "READ_AT_ONCE", 2)
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()
        with closing(connected(mosquitto, EVENTS)) as dock:
            messages = [wire.write_publish(EVENTS, b"%d" % n, is_v5=False) for n in range(50)]
            dock.sendall(b"".join(messages))
            # When it has its own messages back, those for the bridge are on the way as well.
            _take(dock, sum(map(len, messages)))
            arrived = [(await observed.receive()).payload for _ in messages]
        assert arrived == [b"%d" % n for n in range(50)]


async def test_what_the_broker_does_not_take_yet_leaves_later(mosquitto: RunningBroker) -> None:
    """In order and whole: answers and commands alike."""
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()
        loop = asyncio.get_running_loop()
        with closing(connected(mosquitto, REPLY)) as dock:
            mosquitto.freeze()
            answers = [b"%d" % n * 200_000 for n in range(10, 99)]
            for answer in answers:
                observed.bridge.answer(REPLY, answer)
                await asyncio.sleep(0)
            command = observed.bridge.publish("thing/product/d/services", b"{}", expiry_seconds=30)
            mosquitto.thaw()
            for answer in answers:
                expected = wire.write_publish(REPLY, answer, is_v5=False)
                assert await loop.run_in_executor(None, _take, dock, len(expected)) == expected
            async with asyncio.timeout(20):
                await command
