"""Brokers that are away, freeze, refuse, or do half of their work: noticed, told, survived."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import aiomqtt
import pytest
from support.bridge_on_broker import running_bridge
from support.brokers import RunningBroker
from support.log import Log, events
from support.proxy import PUBACK, SUBACK, Proxy

from dockgate_server import mqtt
from dockgate_server.bridge import session
from dockgate_server.bridge.interface import ConnectionLost, NotConnected
from dockgate_server.codec import topics

pytestmark = pytest.mark.broker

SERVICES = topics.services("dock-001")

ONCE = ["broker_unreachable", "broker_connected"]
"""A trouble that was there from the start, and its end."""
AGAIN = ["broker_connected", "broker_unreachable", "broker_connected"]
"""One that came later."""


async def test_a_broker_that_is_away_at_the_start_is_found_when_it_comes(
    mosquitto: RunningBroker, log: Log
) -> None:
    """Without help, and with one line for the beginning and one for the end."""
    mosquitto.stop()
    async with running_bridge(mosquitto) as observed:
        for _ in range(3):
            assert "refused" in await observed.problem()
        with pytest.raises(NotConnected):
            await observed.works()
        mosquitto.start()
        await observed.wait_up()
        assert await observed.works()
    assert events(log) == ONCE


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
async def test_a_host_that_cannot_be_does_not_end_the_bridge(
    mosquitto: RunningBroker, host: str
) -> None:
    """The resolver fails in a way of its own with such names."""
    async with running_bridge(mosquitto, host=host) as observed:
        assert await observed.problem() == "no host can have that name"
        assert await observed.problem() == "no host can have that name"


async def test_a_broker_that_has_frozen_is_given_up_and_found_again(
    mosquitto: RunningBroker, log: Log
) -> None:
    """Nothing is closed: only the keepalive can tell."""
    async with running_bridge(mosquitto, keepalive_seconds=1) as observed:
        await observed.wait_up()
        mosquitto.freeze()
        assert await observed.problem() == "Keep alive timeout"
        with pytest.raises(NotConnected):
            await observed.works()

        mosquitto.thaw()
        await observed.wait_up()
        assert await observed.works()
    assert events(log) == AGAIN


async def test_a_connection_that_swallows_everything_is_given_up(between: Proxy, log: Log) -> None:
    """A cable, a firewall that has forgotten it: and the next attempts get no answer either."""
    patience = {"keepalive_seconds": 1, "connect_timeout_seconds": 0.2}
    async with running_bridge(between, **patience) as observed:
        await observed.wait_up()
        between.frozen = True
        lost = observed.bridge.publish(SERVICES, b"{}", expiry_seconds=5)
        with pytest.raises(ConnectionLost):
            await lost
        await observed.problem()
        assert await observed.problem() == "Operation timed out"

        between.frozen = False
        await observed.wait_up()
        assert await observed.works()
    # The second line says what is new about it.
    assert events(log) == [*AGAIN[:2], "broker_unreachable", "broker_connected"]


async def test_a_broker_that_acknowledges_nothing_is_given_up(between: Proxy, log: Log) -> None:
    """It answers pings, so the keepalive is content, and the window would stay full for ever."""
    between.withheld = PUBACK
    async with running_bridge(between, keepalive_seconds=1) as observed:
        await observed.wait_up()
        sent = observed.bridge.publish(SERVICES, b"{}", expiry_seconds=5)
        between.withheld = None
        with pytest.raises(ConnectionLost):
            await sent
        assert await observed.problem() == "no acknowledgement within 2 s"
        with pytest.raises(NotConnected):
            await observed.works()

        await observed.wait_up()
        assert await observed.works()
    assert between.connections == 2
    assert events(log) == AGAIN


async def test_each_message_has_its_own_time_to_be_acknowledged(
    mosquitto: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway under load always waits for some: only one that waits too long is a bad sign."""
    patience = 0.3
    monkeypatch.setattr(session, "PATIENCE_KEEPALIVES", patience / 15)
    loop = asyncio.get_running_loop()
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()
        for _ in range(300):
            assert await observed.works()
        mosquitto.freeze()
        began = loop.time()
        with pytest.raises(ConnectionLost):
            await observed.works()
        assert loop.time() - began >= patience
        mosquitto.thaw()


async def test_two_clients_with_one_id_do_not_fight_at_full_speed(
    mosquitto: RunningBroker, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """Each connection throws the other out; that it was made must not start the pauses anew."""
    loop = asyncio.get_running_loop()
    async with running_bridge(mosquitto, "same") as first, running_bridge(mosquitto, "same"):
        began = loop.time()
        for _ in range(5):
            await first.problem()
        # Both have paused for at least half of 0.2, 0.4, 0.8 and 1.6 s in turn.
        assert loop.time() - began > 2.4
    hints = [entry["hint"] for entry in log if "hint" in entry]
    assert set(hints) == {"no other client may have the id 'same'"}
    assert len(hints) <= 2  # one of each
    assert caplog.messages == []  # the library would have a line for each


async def test_a_connection_that_ends_before_the_subscription_is_not_waited_for(
    between: Proxy,
) -> None:
    """The library would wait ten seconds for an answer that nobody is left to give."""
    between.withheld = SUBACK
    async with running_bridge(between) as observed:
        await between.has_withheld.wait()
        between.withheld = None
        between.hang_up()
        async with asyncio.timeout(5):
            await observed.wait_up()


async def test_it_is_known_whether_the_broker_has_kept_our_session(between: Proxy) -> None:
    """If not, what docks said meanwhile is lost. An earlier process may have begun it."""
    async with running_bridge(between) as observed:
        await observed.wait_up()
        assert not observed.bridge.session_kept
        between.hang_up()
        await observed.wait_down()
        await observed.wait_up()
        assert observed.bridge.session_kept
    async with running_bridge(between) as observed:
        await observed.wait_up()
        assert observed.bridge.session_kept


async def test_a_session_that_was_lost_stays_lost_over_a_connection_that_came_to_nothing(
    mosquitto: RunningBroker, between: Proxy
) -> None:
    """The next one finds the session which that one began; the one before it is gone."""
    async with running_bridge(between, connect_timeout_seconds=0.3) as observed:
        await observed.wait_up()
        between.hang_up()
        await observed.wait_down()
        await observed.wait_up()
        assert observed.bridge.session_kept

        between.withheld = SUBACK
        mosquitto.stop()
        mosquitto.start()
        await between.has_withheld.wait()
        between.withheld = None
        await observed.wait_up()
        assert not observed.bridge.session_kept


async def test_what_is_unsent_when_a_connection_is_left_never_leaves() -> None:
    """The broker takes nothing more for now: it must not get our messages when it does again."""
    connack = b"\x20\x03\x00\x00\x00"
    peers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(connack)
        peers.put_nowait((reader, writer))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5)
        async with asyncio.timeout(8):
            async with mqtt.connected(client):
                reader, writer = await peers.get()
                client._client.publish("t", b"x" * 50_000_000, qos=1)
            received = 0
            while data := await reader.read(1_000_000):
                received += len(data)
        assert received < 50_000_000
        writer.close()


async def test_a_socket_that_the_thread_that_connects_closes_is_none_of_the_loops_business(
    mosquitto: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not watched yet, and nothing of the loop may be called from there."""
    client = aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5)
    loop, paho = asyncio.get_running_loop(), client._client
    called: list[str] = []

    def give_up(*_: Any) -> Any:
        paho._sock_close()

    for name in ("add_reader", "remove_reader", "add_writer"):
        monkeypatch.setattr(loop, name, lambda *_, name=name: called.append(name))
    monkeypatch.setattr(paho, "_send_connect", give_up)
    with pytest.raises(aiomqtt.MqttError):
        async with asyncio.timeout(5), mqtt.connected(client):
            pass
    assert called == []


async def test_a_socket_belongs_to_the_thread_that_connects_until_it_has_done(
    mosquitto: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one watches and another closes ends the process on uvloop."""
    client = aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=aiomqtt.ProtocolVersion.V5)
    loop, introduce = asyncio.get_running_loop(), client._client._send_connect
    looked, done = threading.Event(), threading.Event()
    watched: list[bool] = []

    def turns(left: int) -> None:
        if left:
            loop.call_soon(turns, left - 1)
        else:
            looked.set()

    def introduce_late(*arguments: Any) -> Any:
        said = introduce(*arguments)
        loop.call_soon_threadsafe(turns, 5)
        looked.wait(5)
        done.set()
        return said

    def noting(watch: Callable[..., None]) -> Callable[..., None]:
        def noted(*arguments: Any) -> None:
            watched.append(done.is_set())
            watch(*arguments)

        return noted

    for name in ("add_reader", "add_writer"):
        monkeypatch.setattr(loop, name, noting(getattr(loop, name)))
    client._client._send_connect = introduce_late  # type: ignore[method-assign]
    async with mqtt.connected(client):
        pass
    assert watched[:2] == [True, True]
