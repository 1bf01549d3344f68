"""The bridge to the MQTT broker: keeps one session open, and opens the next when it breaks."""

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiomqtt
import structlog

from dockgate_server import mqtt
from dockgate_server.bridge.interface import Acknowledgement, Inbound, NotConnected
from dockgate_server.bridge.session import Session

_log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 15.0


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
        return 0 if self._session is None else self._session.receive_maximum

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
        failures = 0
        while True:
            session = self._new_session()
            was_ready = False

            def ready(session: Session = session) -> None:
                nonlocal was_ready
                was_ready = True
                self._begin(session)

            try:
                await session.run(self._topics, ready)
            except aiomqtt.MqttError as problem:
                is_v5 = self._protocol is aiomqtt.ProtocolVersion.V5
                if is_v5 and mqtt.is_version_refused(problem):
                    _log.warning("broker_speaks_mqtt_3_1_1_only", broker=self.address)
                    self._protocol = aiomqtt.ProtocolVersion.V311
                    continue
                self._note(problem)
            finally:
                self._end(session)
            # Each time anew: the broker may have been updated, or another may have answered.
            self._protocol = aiomqtt.ProtocolVersion.V5
            failures = 1 if was_ready else failures + 1
            # Jitter: after a broker's restart its clients must not all come at once.
            pause = min(_FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 10), _LAST_RETRY_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311

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
        self._expires_messages = session.is_v5
        self.last_problem = None
        version = "5" if session.is_v5 else "3.1.1"
        _log.info("broker_connected", broker=self.address, mqtt=version)
        self._on_connection(True)

    def _end(self, session: Session) -> None:
        if self._session is session:
            self._session = None
            self._on_connection(False)

    def _note(self, problem: aiomqtt.MqttError) -> None:
        text = mqtt.reason(problem)
        # One line when it begins, not one for every attempt.
        if text != self.last_problem:
            _log.warning("broker_unreachable", broker=self.address, problem=text)
        self.last_problem = text
