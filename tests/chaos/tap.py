"""A TCP tap between the server and the broker: the witness of what the server published.

Every byte goes through unchanged. A PUBLISH counts as soon as the server's bytes have arrived
here, whether or not they reach the broker: what has left the process may have been carried out.
So a broken direction does not stop the reading of the other one.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from chaos.evidence import Answered, Published
from chaos.packets import Conversation, Malformed, Publish

_CHUNK = 65_536
_DOWN = ("services", "property/set", "drc/down")
_UP = ("services_reply", "property/set_reply", "drc/up")
"""The topics of commands and of their answers, below ``thing/product/{gateway}/``."""


class Tap:
    """Listens for the server and connects it to the broker.

    Args:
        port: Where to listen, on 127.0.0.1.
        broker_port: Where the broker listens.
        delay: How many seconds longer the broker's answers take.
    """

    def __init__(self, port: int, broker_port: int, delay: float = 0.0) -> None:
        self.port = port
        self.published: list[Published] = []
        self.answered: list[Answered] = []
        self.redelivered = 0
        """Messages for the server that the broker marked as duplicates."""
        self.most_in_flight = 0
        """The most commands that waited for the broker's acknowledgement at once."""
        self.problems: list[str] = []
        """Why something could not be read; then the count means nothing."""
        self._broker_port = broker_port
        self._delay = delay
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(), name="tap")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End all connections."""
        tasks = {self._accepting, *self._connections}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            server, _ = await loop.sock_accept(self._listener)
            connection = asyncio.create_task(self._connect(server), name="tap-connection")
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)

    async def _connect(self, server: socket.socket) -> None:
        with server, socket.socket() as broker:
            for one in (server, broker):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await asyncio.get_running_loop().sock_connect(
                    broker, ("127.0.0.1", self._broker_port)
                )
            except OSError:
                return  # the broker is away, and the server sees that it is hung up on
            reader = _Reader(self)
            await asyncio.gather(
                _pump(server, broker, reader.server_sent),
                _pump(broker, server, reader.broker_sent, self._delay),
            )


class _Reader:
    """Reads one connection for the tap."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._conversation: Conversation | None = Conversation()
        self._published: dict[int, Published] = {}  # by packet id, until the PUBACK
        self._answered: dict[int, Answered] = {}  # the same for the other direction

    def server_sent(self, data: bytes) -> None:
        try:
            packets = self._conversation.from_client(data) if self._conversation else ()
            for packet in packets:
                if isinstance(packet, Publish):
                    self._note_command(packet)
                elif (answered := self._answered.pop(packet.packet_id, None)) is not None:
                    self._tap.answered.append(answered)
        except Malformed as problem:
            self._give_up("the server's", problem)

    def broker_sent(self, data: bytes) -> None:
        try:
            packets = self._conversation.from_broker(data) if self._conversation else ()
        except Malformed as problem:
            self._give_up("the broker's", problem)
            return
        for packet in packets:
            if isinstance(packet, Publish):
                self._tap.redelivered += packet.duplicate
                self._note_answer(packet)
            elif (published := self._published.pop(packet.packet_id, None)) is not None:
                published.reason = packet.reason

    def _note_command(self, packet: Publish) -> None:
        published = command_of(packet, _now())
        if published is None:
            return
        self._tap.published.append(published)
        if packet.packet_id is not None:
            self._published[packet.packet_id] = published
            in_flight = len(self._published)
            self._tap.most_in_flight = max(self._tap.most_in_flight, in_flight)

    def _note_answer(self, packet: Publish) -> None:
        answered = answer_of(packet)
        if answered is not None and packet.packet_id is not None:
            self._answered[packet.packet_id] = answered

    def _give_up(self, whose: str, problem: Malformed) -> None:
        self._conversation = None
        self._tap.problems.append(f"{whose} bytes are not understood: {problem}")


def command_of(packet: Publish, at: int) -> Published | None:
    """The command that a PUBLISH carries; None for answers to devices.

    Raises:
        Malformed: It is on a command's topic and cannot be told from others.
    """
    gateway_id, channel = _place(packet)
    if channel not in _DOWN:
        return None
    try:
        content: dict[str, Any] = json.loads(packet.payload)
        is_drc = channel == "drc/down"
        tid, seq = (None, content["seq"]) if is_drc else (content["tid"], None)
        data = content["data"]
    except (ValueError, TypeError, KeyError) as error:
        raise Malformed(f"a command on {packet.topic} without {error}") from None
    return Published(
        at=at,
        gateway_id=gateway_id,
        tid=tid,
        seq=seq,
        data=data,
        expiry_seconds=packet.expiry_seconds,
        retain=packet.retain,
    )


def answer_of(packet: Publish) -> Answered | None:
    """The reply in a PUBLISH; None for other messages, and for what names no command."""
    gateway_id, channel = _place(packet)
    if channel not in _UP:
        return None
    try:
        content: dict[str, Any] = json.loads(packet.payload)
        if channel == "drc/up":
            return Answered(gateway_id, None, content["seq"])
        return Answered(gateway_id, content["tid"], None)
    except (ValueError, TypeError, KeyError):
        return None


def _place(packet: Publish) -> tuple[str, str]:
    """Whose topic it is, and which of them; empty for topics of other forms."""
    root, _, rest = packet.topic.partition("thing/product/")
    gateway_id, _, channel = rest.partition("/")
    return ("", "") if root else (gateway_id, channel)


async def _pump(
    source: socket.socket, sink: socket.socket, note: Callable[[bytes], None], delay: float = 0.0
) -> None:
    """Pass bytes on until the source ends; read on when the sink has gone."""
    loop = asyncio.get_running_loop()
    passing_on = True
    while True:
        try:
            data = await loop.sock_recv(source, _CHUNK)
        except OSError:
            break
        if not data:
            break
        note(data)
        if passing_on:
            await asyncio.sleep(delay)
            try:
                await loop.sock_sendall(sink, data)
            except OSError:
                passing_on = False
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _now() -> int:
    return int(time.time() * 1000)
