"""The broker as docs/broker sets it up: a dock is heard and told only as itself.

dock-002 is the rogue: it has a password of its own and does what it likes. That nothing arrives is
shown by what does: messages of one client keep their order, so the first one behind is enough.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography.hazmat.primitives import serialization
from support import brokers, gateway, health, secured_broker
from support.bridge_on_broker import Observed, running_bridge
from support.certificates import Authority
from support.gateway import quick_dock, recording_start
from support.log import Log
from support.secured_broker import WAYS, SecuredBroker

from dockgate.downlink.v1.command_pb2 import CommandStatus
from dockgate.downlink.v1.error_reason_pb2 import FAILURE_CODE_DELIVERY_REFUSED
from dockgate_server import mqtt, simulate
from dockgate_server.bridge.mqtt import MqttBridge
from dockgate_server.cli import acl
from dockgate_server.codec import topics
from dockgate_server.codec.topics import Up
from dockgate_server.config import Mqtt
from dockgate_server.rpc.health import DISPATCH

pytestmark = pytest.mark.broker

VICTIM, ROGUE, DRONE = "dock-001", "dock-002", "drone-001"
DOWN = (
    topics.services,
    topics.property_set,
    topics.drc_down,
    topics.events_reply,
    topics.requests_reply,
    topics.status_reply,
)
DOWN_NAMES = [down.__name__ for down in DOWN]


def _up(serial_number: str, up: Up) -> str:
    return up.value.replace("+", serial_number)


MARKER = _up(ROGUE, Up.EVENTS)


@pytest.fixture
def broker() -> Iterator[SecuredBroker]:
    """Mosquitto, set up as the documentation says."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    with secured_broker.running() as running:
        yield running


@pytest.fixture
async def listening(broker: SecuredBroker) -> AsyncIterator[Observed]:
    """The gateway's bridge, connected."""
    async with _bridge(broker) as observed:
        await observed.wait_up()
        yield observed


@asynccontextmanager
async def _bridge(broker: SecuredBroker) -> AsyncIterator[Observed]:
    who = {"username": "dockgate", "password": secured_broker.secret_of("dockgate")}
    async with running_bridge(broker.broker, tls=broker.tls(), **who) as observed:
        yield observed


async def _first_heard(listening: Observed, rogue: aiomqtt.Client) -> str:
    """The topic of the first message that the gateway got, up to one of the rogue's own."""
    await rogue.publish(MARKER, b"marker", qos=1)
    return (await listening.receive()).topic


async def _next(client: aiomqtt.Client) -> aiomqtt.Message:
    async with asyncio.timeout(10):
        return await anext(client.messages)


@pytest.mark.parametrize("way", WAYS)
async def test_a_command_flies(broker: SecuredBroker, tmp_path: Path, way: str) -> None:
    """With TLS on both sides, by password and by certificate."""
    config = replace(quick_dock(broker.broker), broker=broker.dock(way, VICTIM))
    async with (
        gateway.running("", tmp_path, mqtt=broker.settings(way)) as running,
        simulate.SimulatedDock(config) as dock,
    ):
        await dock.wait_ready()
        answer = await running.stub.SubmitCommand(recording_start("a-command"))
        assert await running.end_of(answer.command.command_id) == "SUCCEEDED"


def test_the_list_of_topics_is_what_the_command_prints() -> None:
    """So that it has the topics of this release, and no others."""
    printed = acl.write({VICTIM: [DRONE]})
    assert (secured_broker.DOCS / "acl").read_text(encoding="utf-8") == printed


@pytest.mark.parametrize("up", Up, ids=lambda up: up.name)
async def test_a_dock_cannot_publish_as_another(
    broker: SecuredBroker, listening: Observed, up: Up
) -> None:
    """Neither once nor to be kept by the broker; what it says as itself arrives."""
    async with broker.client(ROGUE) as rogue:
        for retain in (False, True):
            await rogue.publish(_up(VICTIM, up), b"forged", qos=1, retain=retain)
        assert await _first_heard(listening, rogue) == MARKER
        await rogue.publish(_up(ROGUE, up), b"its own", qos=1)
        assert (await listening.receive()).topic == _up(ROGUE, up)


@pytest.mark.parametrize("up", [Up.OSD, Up.STATE, Up.EVENTS], ids=lambda up: up.name)
async def test_a_drone_is_spoken_for_by_its_own_dock(
    broker: SecuredBroker, listening: Observed, up: Up
) -> None:
    """Not by another one, to whose block it does not belong."""
    async with broker.client(ROGUE) as rogue, broker.client(VICTIM) as dock:
        await rogue.publish(_up(DRONE, up), b"forged", qos=1)
        assert await _first_heard(listening, rogue) == MARKER
        await dock.publish(_up(DRONE, up), b"its dock's", qos=1)
        heard = await listening.receive()
        assert (heard.topic, heard.payload) == (_up(DRONE, up), b"its dock's")


@pytest.mark.parametrize("up", [up for up in Up if up not in (Up.OSD, Up.STATE, Up.EVENTS)])
async def test_a_dock_says_as_its_drone_only_what_drones_say(
    broker: SecuredBroker, listening: Observed, up: Up
) -> None:
    """A drone answers no command and announces nobody."""
    async with broker.client(VICTIM) as dock:
        await dock.publish(_up(DRONE, up), b"forged", qos=1)
        await dock.publish(_up(VICTIM, Up.EVENTS), b"marker", qos=1)
        assert (await listening.receive()).topic == _up(VICTIM, Up.EVENTS)


@pytest.mark.parametrize("down", DOWN, ids=DOWN_NAMES)
async def test_a_dock_cannot_command_another(
    broker: SecuredBroker, listening: Observed, down: Callable[[str], str]
) -> None:
    """Nor itself: only what the gateway publishes there arrives, at once or kept."""
    async with broker.client(ROGUE) as rogue, broker.client(VICTIM) as victim:
        await victim.subscribe(down(VICTIM), qos=1)
        await rogue.subscribe(down(ROGUE), qos=1)
        for target in (VICTIM, ROGUE):
            for retain in (False, True):
                await rogue.publish(down(target), b"forged", qos=1, retain=retain)
        for target, client in ((VICTIM, victim), (ROGUE, rogue)):
            await listening.bridge.publish(down(target), b"the gateway's", expiry_seconds=10)
            assert (await _next(client)).payload == b"the gateway's"


@pytest.mark.parametrize(
    "wanted",
    [
        *(down(VICTIM) for down in DOWN),
        *(_up(VICTIM, up) for up in Up),
        *("#", "thing/#", "sys/#", "+/+/+/+", "+/+/+/+/+", "thing/product/+/services", "/#"),
        *(f"$share/group/{topic}" for topic in ("thing/#", topics.services(VICTIM))),
        *("$SYS/#", "$SYS/broker/clients/connected"),
    ],
)
async def test_a_dock_cannot_read_what_another_is_told_or_says(
    broker: SecuredBroker, listening: Observed, wanted: str
) -> None:
    """Whatever it subscribes to, mosquitto delivers only what its user may read."""
    async with broker.client(ROGUE) as rogue, broker.client(VICTIM) as victim:
        await rogue.subscribe(wanted, qos=1)
        await rogue.subscribe(topics.services(ROGUE), qos=1)
        for up in Up:
            await victim.publish(_up(VICTIM, up), b"said in confidence", qos=1)
        for down in DOWN:
            await listening.bridge.publish(down(VICTIM), b"told in confidence", expiry_seconds=10)
        await listening.bridge.publish(topics.services(ROGUE), b"marker", expiry_seconds=10)
        assert (await _next(rogue)).payload == b"marker"


async def test_a_dock_that_shares_a_subscription_takes_no_message_away(
    broker: SecuredBroker, listening: Observed
) -> None:
    """The gateway hears all of what is also shared by a rogue."""
    async with broker.client(ROGUE) as rogue, broker.client(VICTIM) as victim:
        await rogue.subscribe(f"$share/group/{Up.EVENTS.value}", qos=1)
        for number in range(10):
            await victim.publish(_up(VICTIM, Up.EVENTS), str(number).encode(), qos=1)
        heard = [(await listening.receive()).payload for _ in range(10)]
        assert heard == [str(number).encode() for number in range(10)]


async def test_the_last_will_of_a_dock_is_its_own(
    broker: SecuredBroker, listening: Observed
) -> None:
    """Or any dock could have any other taken for gone."""
    for whose, heard in ((VICTIM, MARKER), (ROGUE, _up(ROGUE, Up.STATUS))):
        will = aiomqtt.Will(_up(whose, Up.STATUS), b'{"method":"update_topo"}', qos=1)
        with contextlib.suppress(aiomqtt.MqttError):
            async with broker.client(ROGUE, will=will) as rogue:
                secured_broker.cut(rogue)
                await _next(rogue)
        async with broker.client(ROGUE) as rogue:
            assert await _first_heard(listening, rogue) == heard
    assert (await listening.receive()).topic == MARKER


@pytest.mark.parametrize("identifier", ["dockgate", VICTIM, "drc-dock-001"])
async def test_a_dock_cannot_throw_others_out_by_taking_their_identifier(
    broker: SecuredBroker, listening: Observed, identifier: str
) -> None:
    """A new session would also end the one in which the gateway's messages wait."""
    others = (VICTIM, "drc-dock-001")
    async with AsyncExitStack() as connected:
        clients = [
            await connected.enter_async_context(broker.client(one, identifier=one))
            for one in others
        ]
        async with broker.client(ROGUE, identifier=identifier, clean_start=True) as rogue:
            assert await _first_heard(listening, rogue) == MARKER
        for one, client in zip(others, clients, strict=True):
            await client.publish(_up(VICTIM, Up.DRC_UP), one.encode(), qos=1)
            assert (await listening.receive()).payload == one.encode()
    assert not listening.down.is_set()
    assert listening.problems.empty()


async def test_direct_control_has_a_connection_and_topics_of_its_own(
    broker: SecuredBroker, listening: Observed
) -> None:
    """Beside the dock's other one, and nothing but direct control."""
    async with broker.client(VICTIM) as dock, broker.client("drc-dock-001") as drc:
        await drc.subscribe("thing/#", qos=1)
        for up in Up:
            await drc.publish(_up(VICTIM, up), b"by drc", qos=1)
        await dock.publish(_up(VICTIM, Up.EVENTS), b"marker", qos=1)
        assert (await listening.receive()).topic == _up(VICTIM, Up.DRC_UP)
        assert (await listening.receive()).payload == b"marker"
        for down in (topics.services, topics.drc_down):
            await listening.bridge.publish(down(VICTIM), b"", expiry_seconds=10)
        assert str((await _next(drc)).topic) == topics.drc_down(VICTIM)


async def test_a_certificate_speaks_for_its_name_alone(
    broker: SecuredBroker, listening: Observed
) -> None:
    """Whatever user and password are said beside it, also right ones of another."""
    other = {"username": VICTIM, "password": secured_broker.secret_of(VICTIM)}
    by_certificate = {
        "port": broker.ports["certificate"],
        "tls_context": broker.tls("certificate", ROGUE),
    }
    async with broker.client(ROGUE, **{**other, **by_certificate}) as rogue:
        await rogue.publish(_up(VICTIM, Up.EVENTS), b"forged", qos=1)
        assert await _first_heard(listening, rogue) == MARKER


def _no_certificate(broker: SecuredBroker) -> dict[str, Any]:
    return {"port": broker.ports["certificate"]}


def _certificate_of_another_authority(broker: SecuredBroker) -> dict[str, Any]:
    certificate, key = Authority(broker.broker.folder / "other").issue("dockgate")
    tls = ssl.create_default_context(cafile=broker.server.certificate)
    tls.load_cert_chain(certificate, key)
    return {"port": broker.ports["certificate"], "tls_context": tls}


def _certificate_that_has_expired(broker: SecuredBroker) -> dict[str, Any]:
    certificate, key = broker.clients.issue("dockgate", days=-1)
    tls = ssl.create_default_context(cafile=broker.server.certificate)
    tls.load_cert_chain(certificate, key)
    return {"port": broker.ports["certificate"], "tls_context": tls}


@pytest.mark.parametrize("protocol", ["V5", "V311"])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(lambda _: {"username": None, "password": None}, id="anonymous"),
        pytest.param(lambda _: {"password": "guessed"}, id="wrong password"),
        pytest.param(lambda _: {"password": None}, id="no password"),
        pytest.param(lambda _: {"username": "nobody"}, id="unknown user"),
        pytest.param(lambda _: {"username": "+", "password": ""}, id="wildcard as user"),
        pytest.param(lambda _: {"tls_context": None}, id="no TLS"),
        pytest.param(_no_certificate, id="no certificate"),
        pytest.param(_certificate_of_another_authority, id="certificate of another authority"),
        pytest.param(_certificate_that_has_expired, id="expired certificate"),
    ],
)
async def test_a_stranger_does_not_get_in(
    broker: SecuredBroker, how: Callable[[SecuredBroker], dict[str, Any]], protocol: str
) -> None:
    """Nor one who knows a part."""
    version = aiomqtt.ProtocolVersion[protocol]
    client = broker.client("dockgate", protocol=version, timeout=5, **how(broker))
    with pytest.raises(aiomqtt.MqttError):
        async with mqtt.connected(client):
            await client.publish("thing/product/dock-001/services", b"{}", qos=1)


async def test_a_message_larger_than_any_ends_the_connection(
    broker: SecuredBroker, listening: Observed
) -> None:
    """It fills nobody's queue."""
    async with mqtt.connected(rogue := broker.client(ROGUE)):
        rogue._client.publish(MARKER, bytes(524_289), qos=1)
        with pytest.raises(aiomqtt.MqttError):
            await _next(rogue)
    async with broker.client(ROGUE) as rogue:
        assert await _first_heard(listening, rogue) == MARKER
        assert listening.inbound.empty()


async def test_a_list_that_is_read_anew_counts_for_connections_that_stand(
    broker: SecuredBroker, listening: Observed
) -> None:
    """No dock has to be restarted when a drone moves for good."""
    async with broker.client(ROGUE) as dock:
        broker.acl.write_text(acl.write({ROGUE: [DRONE]}), encoding="utf-8")
        broker.broker.reload()
        heard = MARKER
        async with asyncio.timeout(10):
            while heard == MARKER:
                await dock.publish(_up(DRONE, Up.OSD), b"its dock's", qos=1)
                heard = await _first_heard(listening, dock)
    assert heard == _up(DRONE, Up.OSD)


async def test_a_user_who_is_withdrawn_is_thrown_out(
    broker: SecuredBroker, listening: Observed
) -> None:
    """At once, and does not come back; nobody else is."""
    async with mqtt.connected(rogue := broker.client(ROGUE)):
        passwords = broker.broker.folder / "passwords"
        kept = [one for one in passwords.read_text().splitlines() if not one.startswith(ROGUE)]
        passwords.write_text("\n".join(kept) + "\n")
        broker.broker.reload()
        with pytest.raises(aiomqtt.MqttError):
            await _next(rogue)
    with pytest.raises(aiomqtt.MqttError):
        async with mqtt.connected(broker.client(ROGUE)):
            pass
    assert await listening.works()
    assert not listening.down.is_set()


def test_a_key_with_a_passphrase_is_refused(broker: SecuredBroker) -> None:
    """Nobody is there to be asked for it."""
    settings = broker.settings("certificate")
    mqtt = Mqtt(**settings)
    key = serialization.load_pem_private_key(settings["client_key"].read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"a passphrase")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    settings["client_key"].write_bytes(key.private_bytes(*form))
    with pytest.raises(ValueError, match="no private key that can be read"):
        Mqtt(**settings)
    with pytest.raises(ssl.SSLError):
        mqtt.tls_context()


async def test_what_the_broker_does_not_let_the_gateway_say_is_told(
    broker: SecuredBroker, tmp_path: Path
) -> None:
    """The command ends with the broker's reason: nobody has got it."""
    allowed = broker.acl.read_text(encoding="utf-8")
    broker.acl.write_text(allowed.replace("topic write thing/product/+/services\n", ""))
    broker.broker.stop()
    broker.broker.start()
    known = ({"id": DRONE, "gateway": VICTIM},)
    async with gateway.running("", tmp_path, mqtt=broker.settings("password"), devices=known) as on:
        await health.until(on.channel, DISPATCH)
        answer = await on.stub.SubmitCommand(recording_start("a-command"))
        ended = (await on.events(answer.command.command_id))[-1].command
    assert CommandStatus.Name(ended.status) == "COMMAND_STATUS_FAILED"
    assert ended.failure_code == FAILURE_CODE_DELIVERY_REFUSED
    assert "Not authorized" in ended.failure_reason


async def _failed(bridge: MqttBridge) -> None:
    """Wait until the next attempt to connect has failed."""
    tried = asyncio.Event()
    failed = bridge._steadiness.failed

    def noted(problem: str, **more: Any) -> float:
        tried.set()
        return failed(problem, **more)

    bridge._steadiness.failed = noted  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        await tried.wait()


async def test_without_a_broker_to_trust_nothing_is_said_to_be_dispatched(
    broker: SecuredBroker, tmp_path: Path, log: Log
) -> None:
    """One line says why; calls are served all the same."""
    unknown = broker.settings("password") | {"ca_certificate": broker.clients.certificate}
    async with gateway.running("", tmp_path, mqtt=unknown) as running:
        await _failed(running.app.bridge)
        assert await health.status(running.channel, DISPATCH) == health.NOT_SERVING
        assert await health.status(running.channel, "") == health.SERVING
    unreachable = [one["problem"] for one in log if one["event"] == "broker_unreachable"]
    assert len(unreachable) == 1
    assert unreachable[0].startswith("certificate verify failed")
