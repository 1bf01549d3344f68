"""The bridge against real brokers: mosquitto, and the one that pip installs."""

import asyncio
import socket
from pathlib import Path

import aiomqtt
import pytest
from support import brokers
from support import log as log_support
from support.bridge_on_broker import dock, running_bridge
from support.brokers import RunningBroker
from support.log import Log

from dockgate_server.bridge.connecting import LARGEST_PACKET
from dockgate_server.bridge.interface import ConnectionLost, NotConnected, Verdict
from dockgate_server.codec import topics

pytestmark = pytest.mark.broker

SERVICES = topics.services("dock-001")
REPLIES = "thing/product/dock-001/services_reply"


async def test_a_message_reaches_the_dock_and_is_acknowledged(broker: RunningBroker) -> None:
    """QoS 1, not retained, and with MQTT 5 it expires."""
    async with running_bridge(broker) as observed, dock(broker) as client:
        await observed.wait_up()

        sent = observed.bridge.publish(SERVICES, b'{"a":1}', expiry_seconds=30)
        message = await anext(aiter(client.messages))

        assert (await sent).verdict is Verdict.TAKEN
        assert message.payload == b'{"a":1}'
        assert (message.qos, message.retain) == (1, False)
        if broker.speaks_v5:
            assert 0 < message.properties.MessageExpiryInterval <= 30  # type: ignore[union-attr]


async def test_the_bridge_speaks_the_version_that_the_broker_knows(broker: RunningBroker) -> None:
    """5 where it can, 3.1.1 where it must; the dispatcher can tell."""
    async with running_bridge(broker) as observed:
        await observed.wait_up()

        assert observed.bridge.expires_messages is broker.speaks_v5


async def test_a_place_is_kept_for_answers_to_devices(mosquitto: RunningBroker) -> None:
    """Commands may use all others of those that the broker allows."""
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()

        session = observed.bridge._session
        assert session is not None
        assert observed.bridge.receive_maximum == session.receive_maximum - 1


async def test_what_a_dock_says_arrives_with_its_topic(broker: RunningBroker) -> None:
    """Replies carry no gateway; the topic does."""
    async with running_bridge(broker) as observed, dock(broker) as client:
        await observed.wait_up()
        await client.publish(REPLIES, b"{}", qos=1)

        message = await observed.receive()

        assert (message.topic, message.payload) == (REPLIES, b"{}")


async def test_what_is_larger_than_any_message_does_not_arrive(mosquitto: RunningBroker) -> None:
    """The broker throws it away; what comes behind it arrives, and the connection stays."""
    async with running_bridge(mosquitto) as observed, dock(mosquitto) as client:
        await observed.wait_up()
        for size in (LARGEST_PACKET, 3, LARGEST_PACKET - 1000, 4):
            await client.publish(REPLIES, bytes(size), qos=1)
        sizes = [len((await observed.receive()).payload) for _ in range(3)]
        assert sizes == [3, LARGEST_PACKET - 1000, 4]
        assert not observed.down.is_set()


@pytest.mark.parametrize("protocol", ["V5", "V311"])
async def test_what_the_broker_has_retained_does_not_arrive_at_any_connection(
    mosquitto: RunningBroker, log: Log, protocol: str
) -> None:
    """It says nothing of now. MQTT 5 does not even bring it; what is said live arrives."""
    version = aiomqtt.ProtocolVersion[protocol]
    async with dock(mosquitto) as client:
        await client.publish(REPLIES, b"old", qos=1, retain=True)
        for connection in range(2):
            async with running_bridge(mosquitto) as observed:
                observed.bridge._protocol = version
                await observed.wait_up()
                await client.publish(REPLIES, b"live %d" % connection, qos=1, retain=True)
                message = await observed.receive()
                message.acknowledge()
                assert await observed.works()  # so that has left as well
                assert message.payload == b"live %d" % connection
                assert observed.inbound.empty()
    dropped = log_support.events(log).count("retained_message_dropped")
    assert dropped == (0 if protocol == "V5" else 2)


async def test_nobody_listens_is_told_from_success(mosquitto: RunningBroker) -> None:
    """The PUBACK is positive in both cases; its reason code is not the same."""
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()

        sent = await observed.bridge.publish(SERVICES, b"{}", expiry_seconds=5)

        assert sent.verdict is Verdict.NOBODY_LISTENS


async def test_a_refused_message_is_told_from_success(tmp_path: Path) -> None:
    """A broker that does not authorise us acknowledges all the same."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    acl = tmp_path / "acl"
    acl.write_text("topic read thing/#\ntopic read sys/#\n")
    with brokers.running("mosquitto", f"acl_file {acl}") as broker:
        async with running_bridge(broker) as observed:
            await observed.wait_up()

            sent = await observed.bridge.publish(SERVICES, b"{}", expiry_seconds=5)

    assert sent.verdict is Verdict.REFUSED
    assert "Not authorized" in sent.reason


async def test_without_a_connection_nothing_is_sent(broker: RunningBroker) -> None:
    """The caller is told at once, and knows that the message has not left."""
    async with running_bridge(broker) as observed:
        with pytest.raises(NotConnected):
            observed.bridge.publish(SERVICES, b"{}", expiry_seconds=5)


async def test_a_message_that_nobody_acknowledges_has_left_when_the_call_returns(
    broker: RunningBroker,
) -> None:
    """Its command ends on nothing but that: without a turn of the event loop in between."""
    async with running_bridge(broker) as observed, dock(broker) as client:
        await observed.wait_up()
        session = observed.bridge._session
        assert session is not None
        assert session._socket is not None
        observed.bridge.stream(SERVICES, b"steer", expiry_seconds=1)
        assert not session._socket._unsent
        assert not session._paho._out_packet
        async with asyncio.timeout(5):
            message = await anext(aiter(client.messages))
        assert message.payload == b"steer"


async def test_the_bridge_comes_back_after_the_broker(mosquitto: RunningBroker) -> None:
    """By itself, and what was on its way is given up for lost, not sent later."""
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()
        mosquitto.stop()
        async with asyncio.timeout(10):
            await observed.down.wait()
        assert observed.bridge.last_problem is not None

        mosquitto.start()
        await observed.wait_up()
        async with dock(mosquitto) as client:
            await client.publish(REPLIES, b"{}", qos=1)
            assert (await observed.receive()).topic == REPLIES


async def test_a_message_in_flight_when_the_connection_breaks_is_lost_for_good(
    mosquitto: RunningBroker,
) -> None:
    """Its future fails, and the next connection does not send it behind our back."""
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()
        mosquitto.freeze()
        sent = observed.bridge.publish(SERVICES, b"stale", expiry_seconds=60)
        mosquitto.kill()
        with pytest.raises(ConnectionLost):
            await sent

        mosquitto.start()
        async with dock(mosquitto) as client:
            await observed.wait_up()
            fresh = observed.bridge.publish(SERVICES, b"fresh", expiry_seconds=60)
            assert (await anext(aiter(client.messages))).payload == b"fresh"
            assert (await fresh).verdict is Verdict.TAKEN


async def test_what_is_not_acknowledged_comes_again(mosquitto: RunningBroker) -> None:
    """A crash between receiving and committing loses nothing."""
    async with running_bridge(mosquitto) as observed:
        await observed.wait_up()
        async with dock(mosquitto) as client:
            await client.publish(REPLIES, b"first", qos=1)
            await client.publish(REPLIES, b"second", qos=1)
        (await observed.receive()).acknowledge()
        assert (await observed.receive()).payload == b"second"

    async with running_bridge(mosquitto) as observed:
        assert (await observed.receive()).payload == b"second"


async def test_what_arrives_while_the_gateway_is_away_is_kept(broker: RunningBroker) -> None:
    """The broker holds the session of our stable client id."""
    async with running_bridge(broker) as observed:
        await observed.wait_up()
    async with dock(broker) as client:
        await client.publish(REPLIES, b"while away", qos=1)

    async with running_bridge(broker) as observed:
        assert (await observed.receive()).payload == b"while away"


async def test_a_handler_that_fails_does_not_end_the_connection(broker: RunningBroker) -> None:
    """An exception in a callback would otherwise reach the socket's reader."""
    async with running_bridge(broker) as observed, dock(broker) as client:
        await observed.wait_up()
        put = observed.inbound.put_nowait
        calls = []

        def fail_once(message: object) -> None:
            calls.append(message)
            if len(calls) == 1:
                raise RuntimeError("a bug")
            put(message)  # type: ignore[arg-type]

        observed.inbound.put_nowait = fail_once  # type: ignore[method-assign]
        await client.publish(REPLIES, b"bad", qos=1)
        await client.publish(REPLIES, b"good", qos=1)

        assert (await observed.receive()).payload == b"good"
        assert observed.bridge.connected


async def test_the_socket_has_no_delay(broker: RunningBroker) -> None:
    """Without TCP_NODELAY every round trip costs 44 ms or more."""
    async with running_bridge(broker) as observed:
        await observed.wait_up()
        session = observed.bridge._session
        assert session is not None
        sock = session._paho.socket()
        assert sock is not None
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
