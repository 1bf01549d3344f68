"""The bridge to the MQTT broker: keeps one session open, and opens the next when it breaks."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import aiomqtt
import structlog

from dockgate_server import mqtt
from dockgate_server.bridge.interface import Acknowledgement, Inbound, NotConnected
from dockgate_server.bridge.session import Session
from dockgate_server.bridge.steadiness import Steadiness
from dockgate_server.clock import SystemClock

_log = structlog.get_logger(__name__)

_REPLY_PLACES = 1
"""How many of the messages that the broker allows are kept for answers to requests of devices."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it.

    Attributes:
        client_id: Must be stable: the broker keeps what arrives for it while we are away.
        keepalive_seconds: A dead peer shows after about twice this.
        session_expiry_seconds: How long the broker keeps our session (MQTT 5).
    """

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    keepalive_seconds: int = 15
    session_expiry_seconds: int = 3600
    connect_timeout_seconds: float = 10.0


class MqttBridge:
    """Publishes to devices and takes what they publish, over connections that come and go.

    Speaks MQTT 5; 3.1.1 with brokers that refuse it.

    Args:
        broker: Where to connect.
        topics: What to subscribe to, each time.
        on_message: Takes each inbound message.
        on_connection: Is told True when messages can be published and False when they no
            longer can.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        on_message: Callable[[Inbound], None],
        on_connection: Callable[[bool], None],
    ) -> None:
        self._broker = broker
        self._topics = list(topics)
        self._on_message = on_message
        self._on_connection = on_connection
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._expires_messages = True
        self._session: Session | None = None
        self._session_kept = False
        self._session_lost = False  # since messages could be published last
        self._steadiness = Steadiness(self.address, broker.client_id, SystemClock())
        self.last_problem: str | None = None
        """Why there is no connection, in one line; None while there is one."""

    @property
    def connected(self) -> bool:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        return self._session is not None

    @property
    def expires_messages(self) -> bool:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        return self._expires_messages

    @property
    def receive_maximum(self) -> int:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        if self._session is None:
            return 0
        return max(1, self._session.receive_maximum - _REPLY_PLACES)

    @property
    def session_kept(self) -> bool:
        """Whether the broker still had our session when we connected last.

        If not, what devices said since the connection before, also one of an earlier process, is
        lost. Is up to date when ``on_connection`` is called.
        """
        return self._session_kept

    @property
    def address(self) -> str:
        """The broker's address, for people."""
        return f"{self._broker.host}:{self._broker.port}"

    def publish(
        self, topic: str, payload: bytes, expiry_seconds: int
    ) -> asyncio.Future[Acknowledgement]:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        if self._session is None:
            raise NotConnected
        return self._session.publish(topic, payload, expiry_seconds)

    def stream(self, topic: str, payload: bytes, expiry_seconds: int) -> None:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        if self._session is None:
            raise NotConnected
        self._session.stream(topic, payload, expiry_seconds)

    def answer(self, topic: str, payload: bytes) -> None:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        if self._session is not None:
            self._session.answer(topic, payload)

    async def run(self) -> None:
        """Keep a connection open until cancelled."""
        while True:
            session = self._new_session()
            problem = aiomqtt.MqttError("connection lost")
            try:
                await session.run(self._topics, partial(self._begin, session))
            except aiomqtt.MqttError as error:
                problem = error
            finally:
                self._end(session)
            is_v5 = self._protocol is aiomqtt.ProtocolVersion.V5
            if is_v5 and mqtt.is_version_refused(problem):
                self._protocol = aiomqtt.ProtocolVersion.V311
                continue
            # Each time anew: the broker may have been updated, or another may have answered.
            self._protocol = aiomqtt.ProtocolVersion.V5
            self.last_problem = mqtt.reason(problem)
            taken_over = mqtt.is_taken_over(problem)
            if taken_over:
                self._session_lost = True  # what devices say meanwhile goes to the other client
            await asyncio.sleep(self._steadiness.failed(self.last_problem, taken_over=taken_over))

    def _new_session(self) -> Session:
        broker = self._broker
        options = {
            "hostname": broker.host,
            "port": broker.port,
            "identifier": broker.client_id,
            "username": broker.username,
            "password": broker.password,
            "tls_context": broker.tls,
            "keepalive": broker.keepalive_seconds,
            "timeout": broker.connect_timeout_seconds,
        }
        return Session(self._protocol, options, broker.session_expiry_seconds, self._on_message)

    def _begin(self, session: Session) -> None:
        self._session = session
        self._session_kept = session.was_kept is True and not self._session_lost
        self._session_lost = False
        if self._expires_messages and not session.is_v5:
            _log.warning("broker_speaks_mqtt_3_1_1_only", broker=self.address)
        self._expires_messages = session.is_v5
        self.last_problem = None
        self._steadiness.connected("5" if session.is_v5 else "3.1.1")
        self._on_connection(True)

    def _end(self, session: Session) -> None:
        self._steadiness.disconnected()
        if self._session is session:
            self._session = None
            self._on_connection(False)
        elif session.was_kept is False:
            # The next connection finds the session that this one began, yet the one before it is
            # gone.
            self._session_lost = True
