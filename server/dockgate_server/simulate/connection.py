"""One connection of the simulated dock to an MQTT broker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from dockgate_server import mqtt

# aiomqtt warns about every eleventh publish in flight, which is nothing unusual here.
_LOG = logging.getLogger("dockgate.simulate.mqtt")
_LOG.addHandler(logging.NullHandler())
_PENDING_CALLS = 10_000
# Seconds for the last message of a dock that leaves.
_LEAVING = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and how one gets in.

    Attributes:
        host: name or address.
        port: TCP port.
        username: None for a broker that asks for none.
        password: likewise; never shown.
        tls: None speaks plain TCP.
        timeout: seconds that one exchange with the broker may take.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    timeout: float = 10.0

    @property
    def url(self) -> str:
        """The address for messages, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def speaks(protocol: aiomqtt.ProtocolVersion) -> str:
    """Return the protocol's name."""
    return "MQTT 5" if protocol is aiomqtt.ProtocolVersion.V5 else "MQTT 3.1.1"


@contextlib.asynccontextmanager
async def connect(
    broker: Broker,
    *,
    identifier: str,
    protocol: aiomqtt.ProtocolVersion,
    keep_session: int,
    will: aiomqtt.Will,
) -> AsyncIterator[aiomqtt.Client]:
    """Connect, and disconnect on leaving.

    Who leaves by being cancelled publishes the will itself before the DISCONNECT, which makes the
    broker forget it. MQTT 5 could ask the broker to publish it all the same, 3.1.1 could not.

    A new client each time: one that reconnects would also deliver what it had given up on.

    Args:
        broker: where to.
        identifier: MQTT client identifier.
        protocol: the version to speak; nothing is tried beside it.
        keep_session: seconds for which the broker is to keep subscriptions and messages while
            the dock is away; 0 for a new session each time. MQTT 3.1.1 knows only 0 or forever.
        will: what the broker publishes when the connection ends without a DISCONNECT.

    Raises:
        aiomqtt.MqttError: on entering if the broker does not let us in, inside if it goes away.
    """
    session: dict[str, Any] = {"clean_session": not keep_session}
    if protocol is aiomqtt.ProtocolVersion.V5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = keep_session
        session = {"clean_start": not keep_session, "properties": properties}
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=identifier,
        protocol=protocol,
        will=will,
        username=broker.username,
        password=broker.password,
        tls_context=broker.tls,
        timeout=broker.timeout,
        socket_options=mqtt.SOCKET_OPTIONS,
        logger=_LOG,
        **session,
    )
    client.pending_calls_threshold = _PENDING_CALLS
    async with mqtt.connected(client):
        try:
            yield client
        except asyncio.CancelledError:
            # A broker that does not take it in time holds nobody up.
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(
                    str(will.topic), will.payload, will.qos, will.retain, timeout=_LEAVING
                )
            raise


async def publish(client: aiomqtt.Client, topic: str, payload: bytes, *, qos: int = 1) -> None:
    """Publish; returns when the broker has taken the message or, with QoS 0, when it has left.

    Raises:
        aiomqtt.MqttError: the connection is lost or the broker does not answer.
    """
    await client.publish(topic, payload, qos=qos)
    mqtt.heed_cancellation()
