"""One MQTT connection, from CONNECT to its end.

aiomqtt owns the handshake, TLS and the event loop's side of the socket. What it does not
offer is taken from the paho client inside it, here and nowhere else:

* the reason code of a PUBACK: "not authorized" and "nobody listens" look like success otherwise;
* how many unacknowledged messages the broker allows, and how large a message;
* whether the broker kept our session since the last connection;
* acknowledging an inbound message later, when what it caused has been committed;
* callbacks instead of a task per message, which is half of the cost of a message;
* reading ahead, writing together, and no objects for what comes in masses, which is most of the
  rest: paho knows of no PUBLISH and no PUBACK, and has none in its queues.

A session object is used for one connection only: a paho client that reconnects would send what
had failed before, long after we gave that up.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import aiomqtt
import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from dockgate_server import mqtt
from dockgate_server.bridge import connecting, reasons, wire
from dockgate_server.bridge.buffering import BufferedSocket
from dockgate_server.bridge.interface import (
    Acknowledgement,
    ConnectionLost,
    Inbound,
    NotConnected,
)
from dockgate_server.bridge.pulse import Pulse
from dockgate_server.bridge.retained import RetainedLog

_log = structlog.get_logger(__name__)

# The library logs a line each time a connection breaks, and raises what it logs as well.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.CRITICAL)

PATIENCE_KEEPALIVES: Final = 2
"""How long a message may wait for its acknowledgement, in keepalives; then the connection is given
up. A broker that still answers pings but acknowledges nothing is as dead to us as one that is
silent, so it gets the same time: a healthy one needs milliseconds, and everything behind the
messages in flight waits meanwhile."""

READ_AT_ONCE: Final = 32
"""Messages and acknowledgements that are handled in one turn of the loop."""

_LAST_PACKET_ID: Final = 65_535
_FIRST_PACKET_ID: Final = 256
"""Those below are paho's, which counts from 1 and needs one: for the subscription."""

_LARGEST_OF_MQTT: Final = 268_435_460
"""Bytes of the largest message that there can be."""

_MOST_IN_FLIGHT: Final = _LAST_PACKET_ID - _FIRST_PACKET_ID


class Session:
    """One connection to the broker.

    Args:
        protocol: The MQTT version to speak.
        options: What :class:`aiomqtt.Client` is told beside it: address, identity, TLS.
        session_expiry_seconds: How long the broker keeps our subscriptions and what arrived for
            them after we are gone (MQTT 5; a 3.1.1 broker decides itself).
        on_message: Takes each inbound message; must not raise.
    """

    def __init__(
        self,
        protocol: aiomqtt.ProtocolVersion,
        options: dict[str, Any],
        session_expiry_seconds: int,
        on_message: Callable[[Inbound], None],
    ) -> None:
        self.is_v5 = protocol is aiomqtt.ProtocolVersion.V5
        self._on_message = on_message
        self.receive_maximum = _MOST_IN_FLIGHT
        """What we may have unacknowledged: what the broker allows, if we have names for so many."""
        self._largest = _LARGEST_OF_MQTT
        self.was_kept: bool | None = None
        """Whether the broker still had our session; None until it has let us in."""
        self._loop = asyncio.get_running_loop()
        self._last_packet_id = _FIRST_PACKET_ID
        self._retained = RetainedLog()
        self._flush_is_due = self._more_is_due = False
        # With the time of each; the oldest comes first.
        self._pending: dict[int, tuple[float, asyncio.Future[Acknowledgement]]] = {}
        self._patience: float = PATIENCE_KEEPALIVES * options["keepalive"]
        self._watchdog: asyncio.TimerHandle | None = None
        options = options | connecting.session_options(
            is_v5=self.is_v5, session_expiry_seconds=session_expiry_seconds
        )
        self._client = aiomqtt.Client(protocol=protocol, logger=_library_log, **options)
        self._paho: paho.Client = self._client._client
        self._create = self._paho._create_socket
        self._read, self._write = self._paho.loop_read, self._paho.loop_write
        self._paho._create_socket = self._create_buffered  # type: ignore[method-assign]
        self._paho.loop_read = self._read_some  # type: ignore[method-assign]
        self._paho.loop_write = self._write_together  # type: ignore[method-assign]
        # Typed as paho's old form of the callback; aiomqtt sets the new one.
        self._connected = cast("Callable[..., None]", self._paho.on_connect)
        self._paho.on_connect = self._connection_answered
        self._paho._handle_publish = self._packet_read  # type: ignore[method-assign]
        self._paho._handle_pubackcomp = self._packet_read  # type: ignore[method-assign]
        self._pulse = Pulse(self._loop.time, lambda: self._send(wire.PINGREQ))
        self._paho._handle_pingresp = self._pulse_answered  # type: ignore[method-assign]

    async def run(self, topics: list[str], on_ready: Callable[[], None]) -> None:
        """Connect, subscribe, call ``on_ready``, and stay until the connection ends.

        Raises:
            aiomqtt.MqttError: The connection could not be made, or broke.
        """
        try:
            async with mqtt.connected(self._client):
                await mqtt.subscribe(self._client, topics, retained=False)
                on_ready()
                # on_message does not feed this iterator; it ends when the connection does.
                async for _ in self._client.messages:
                    pass
        finally:
            if self._watchdog is not None:
                self._watchdog.cancel()
            self._give_up_pending()

    def publish(
        self, topic: str, payload: bytes, expiry_seconds: int
    ) -> asyncio.Future[Acknowledgement]:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        packet_id = self._free_packet_id()
        packet = wire.write_publish(
            topic, payload, is_v5=self.is_v5, packet_id=packet_id, expiry_seconds=expiry_seconds
        )
        acknowledgement: asyncio.Future[Acknowledgement] = self._loop.create_future()
        if len(packet) > self._largest:
            acknowledgement.set_result(reasons.too_large(len(packet), self._largest))
            return acknowledgement
        if not self._send(packet):
            raise NotConnected
        self._pending[packet_id] = (self._loop.time(), acknowledgement)
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._patience, self._look_for_stall)
        return acknowledgement

    def stream(self, topic: str, payload: bytes, expiry_seconds: int) -> None:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        # What would have to wait for others to leave, here or at the broker, would arrive late.
        if not (self._has_flushed() and self._pulse.beats()):
            raise NotConnected
        packet = wire.write_publish(topic, payload, is_v5=self.is_v5, expiry_seconds=expiry_seconds)
        self._send(packet)
        # Else it would leave with the event loop's next turn, and be called sent before.
        if not self._has_flushed():
            raise ConnectionLost("the connection broke, or takes nothing more")

    def answer(self, topic: str, payload: bytes) -> None:
        """See :class:`~dockgate_server.bridge.interface.Bridge`."""
        packet = wire.write_publish(topic, payload, is_v5=self.is_v5)
        if len(packet) <= self._largest:
            self._send(packet)
        else:
            # It repeats what the device has made up.
            _log.warning("answer_too_large", topic=topic, bytes=len(packet), limit=self._largest)

    def _free_packet_id(self) -> int:
        """One that no message has which waits for its acknowledgement."""
        packet_id = self._last_packet_id
        while True:
            packet_id = packet_id + 1 if packet_id < _LAST_PACKET_ID else _FIRST_PACKET_ID
            if packet_id not in self._pending:
                self._last_packet_id = packet_id
                return packet_id

    @property
    def _socket(self) -> BufferedSocket | None:
        return cast("BufferedSocket | None", self._paho._sock)

    def _send(self, packet: bytes | bytearray) -> bool:
        """Have a packet sent in the loop's next turn, with all others; False without connection."""
        sock = self._socket
        if sock is None:
            return False
        sock.send(packet)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._in_turn, self._flush)
        return True

    def _flush(self) -> MQTTErrorCode:
        """Send what there is, with one call."""
        self._flush_is_due = False
        if self._socket is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        self._paho._last_msg_out = time.monotonic()
        try:
            if not self._socket.flush():
                self._paho._call_socket_register_write()
        except OSError:
            return self._paho._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _has_flushed(self) -> bool:
        """Send what there is; whether there is a connection and all of it has left."""
        self._flush()
        return self._socket is not None and not self._socket.has_unsent

    def _create_buffered(self) -> BufferedSocket:
        sock: Any = self._create()
        for option in mqtt.SOCKET_OPTIONS:
            sock.setsockopt(*option)  # aiomqtt does so only to a socket that it knows
        return BufferedSocket(sock)

    def _in_turn(self, step: Callable[[], MQTTErrorCode]) -> None:
        """Take a step that the loop has been asked for; what goes wrong ends the connection."""
        try:
            step()
        except Exception as error:
            mqtt.hang_up(self._client, str(error))

    def _read_some(self, max_packets: int = 1) -> MQTTErrorCode:
        """Handle what has been read ahead, a part at a time: others wait meanwhile.

        paho reads what is rare, and what has not come whole.
        """
        sock = self._socket
        packets: list[tuple[int, bytes]] = []
        if sock is not None and not self._paho._in_packet["command"]:
            try:
                packets = sock.packets(READ_AT_ONCE)
            except (BlockingIOError, ssl.SSLWantReadError):
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                pass  # paho meets it as well, and knows what to do
        if packets:
            self._paho._last_bytes_received = time.monotonic()
            read = self._paho._loop_rc_handle(self._take(packets))
        else:
            read = self._read(max_packets)
        if self._socket is not None and self._socket.has_more and not self._more_is_due:
            self._more_is_due = True
            self._loop.call_soon(self._in_turn, self._read_on)
        return read

    def _read_on(self) -> MQTTErrorCode:
        self._more_is_due = False
        return self._read_some()

    def _write_together(self) -> MQTTErrorCode:
        """Have paho write its packets, and send them with one call."""
        written = self._write()
        return written if self._socket is None else self._flush()

    def _connection_answered(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        allowed = getattr(properties, "ReceiveMaximum", _MOST_IN_FLIGHT)
        self.receive_maximum = min(allowed, _MOST_IN_FLIGHT)
        # It would end the connection for a larger one.
        self._largest = getattr(properties, "MaximumPacketSize", _LARGEST_OF_MQTT)
        if not mqtt.is_error(code):
            self.was_kept = flags.session_present
        self._connected(client, userdata, flags, code, properties)

    def _packet_read(self, cmd: str = "PUBLISH") -> MQTTErrorCode:
        """Take a packet which paho has read."""
        packet = self._paho._in_packet
        return self._take([(packet["command"], packet["packet"])])

    def _pulse_answered(self) -> MQTTErrorCode:
        self._pulse.answered()
        return paho.Client._handle_pingresp(self._paho)

    def _take(self, packets: Sequence[tuple[int, bytes | bytearray]]) -> MQTTErrorCode:
        """Take each PUBLISH and PUBACK."""
        try:
            for first, body in packets:
                if first & 0xF0 == wire.PUBLISH:
                    self._message_arrived(*wire.read_publish(first, body, is_v5=self.is_v5))
                elif first & 0xF0 == wire.PUBACK:
                    self._publish_acknowledged(*wire.read_puback(body))
        except (LookupError, ValueError):  # one ends too early, or says what MQTT does not know
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _message_arrived(self, topic: str, payload: bytes, packet_id: int, retained: bool) -> None:
        def acknowledge() -> None:
            if packet_id:
                self._send(wire.puback(packet_id))

        if retained:  # MQTT 3.1.1 cannot ask the broker to keep it to itself
            self._retained.dropped(topic)
            return acknowledge()
        inbound = Inbound(topic, payload, acknowledge, comes_again=bool(packet_id))
        try:
            self._on_message(inbound)
        except Exception:
            # An exception here would end the connection, and the message would come again.
            _log.exception("inbound_message_not_handled", topic=topic)
            acknowledge()

    def _publish_acknowledged(self, packet_id: int, code: int) -> None:
        answer = reasons.acknowledgement(code)
        _, acknowledgement = self._pending.pop(packet_id, (0.0, None))
        if acknowledgement is not None and not acknowledgement.done():
            acknowledgement.set_result(answer)

    def _look_for_stall(self) -> None:
        """Give the connection up if the oldest message has waited too long."""
        self._watchdog = None
        if not self._pending:
            return
        since, _ = next(iter(self._pending.values()))
        due = since + self._patience
        if due > self._loop.time():
            self._watchdog = self._loop.call_at(due, self._look_for_stall)
        else:
            mqtt.hang_up(self._client, f"no acknowledgement within {self._patience:g} s")

    def _give_up_pending(self) -> None:
        pending, self._pending = self._pending, {}
        for _, acknowledgement in pending.values():
            if not acknowledgement.done():
                acknowledgement.set_exception(ConnectionLost("the connection to the broker ended"))
