"""A client that costs little beside the server it loads: HTTP/2 with frames made beforehand.

gRPC's own Python client takes longer for a call than the server does, so it would be what is
measured. This one knows just enough of HTTP/2 (RFC 9113) and gRPC: requests whose headers never
change, answers of which only the messages count. A call that fails has no message.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_MOST: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65_535
_REPLENISH: Final = 2**29


class Connection(asyncio.Protocol):
    """One connection, over which calls go.

    Args:
        authority: HOST:PORT.
        on_message: Is given the stream and each message on it.
        on_end: Is given each stream that has ended.
    """

    def __init__(
        self,
        authority: str,
        on_message: Callable[[int, bytes], None],
        on_end: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._authority = authority
        self.on_message = on_message
        self.on_end = on_end
        self._buffer = bytearray()
        self._stream = -1
        self._received = 0
        self._out: list[bytes] = []
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Allow the server to send as much as it likes, with headers that need no table."""
        self._transport = transport
        settings = b"\0\1\0\0\0\0" + b"\0\4" + _MOST.to_bytes(4, "big")
        more = (_MOST - _FIRST_WINDOW).to_bytes(4, "big")
        transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, more)
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Let whoever waits know."""
        if not self.lost.done():
            self.lost.set_result(None)

    def headers(self, path: str) -> bytes:
        """The block of headers of calls to that path."""
        literals = ((b"\x04", path), (b"\x01", self._authority), (b"\x0f\x10", "application/grpc"))
        block = b"\x83\x86" + b"".join(name + _text(value) for name, value in literals)
        return block + b"\0" + _text("te") + _text("trailers")

    def call(self, headers: bytes, message: bytes) -> int:
        """Begin a call; it leaves with the next :meth:`flush`. Answers with its stream."""
        self._stream += 2
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self._out.append(_frame(_HEADERS, _END_HEADERS, self._stream, headers))
        self._out.append(_frame(_DATA, _END_STREAM, self._stream, body))
        return self._stream

    def cancel(self, stream: int) -> None:
        """End a call that streams."""
        self._out.append(_frame(_RST_STREAM, 0, stream, (8).to_bytes(4, "big")))

    def flush(self) -> None:
        """Send what has been begun."""
        self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """End the connection and all on it."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what came apart."""
        self._buffer += data
        for kind, flags, stream, body in _frames(self._buffer):
            if kind == _DATA:
                self._count(len(body))
                if len(body) >= 5:
                    self.on_message(stream, body[5:])
            elif kind == _PING and not flags & _ACK:
                self._out.append(_frame(_PING, _ACK, 0, body))
            elif kind == _SETTINGS and not flags & _ACK:
                self._out.append(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _GOAWAY:
                raise ConnectionError(f"the server sends us away: {body[8:]!r}")
            if (kind in (_DATA, _HEADERS) and flags & _END_STREAM) or kind == _RST_STREAM:
                self.on_end(stream)
        if self._out:
            self.flush()

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > _REPLENISH:
            more = self._received.to_bytes(4, "big")
            self._out.append(_frame(_WINDOW_UPDATE, 0, 0, more))
            self._received = 0


@asynccontextmanager
async def connected(
    address: str,
    on_message: Callable[[int, bytes], None] = lambda *_: None,
    on_end: Callable[[int], None] = lambda _: None,
) -> AsyncIterator[Connection]:
    """A connection to a gRPC server without TLS."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    made = lambda: Connection(address, on_message, on_end)  # noqa: E731
    _, connection = await loop.create_connection(made, host, int(port))
    try:
        yield connection
    finally:
        connection.close()


async def calls(address: str, path: str, messages: Sequence[bytes], in_flight: int) -> float:
    """Make a call for each message, so many at a time; answers with the seconds it took.

    Raises:
        RuntimeError: Calls failed.
    """
    left = iter(messages)
    done = asyncio.get_running_loop().create_future()
    answered = ended = 0

    def on_message(stream: int, message: bytes) -> None:
        nonlocal answered
        answered += 1

    def on_end(stream: int) -> None:
        nonlocal ended
        ended += 1
        if (message := next(left, None)) is not None:
            connection.call(headers, message)
        elif ended == len(messages):
            done.set_result(None)

    async with connected(address, on_message, on_end) as connection:
        headers = connection.headers(path)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(min(in_flight, len(messages))):
            connection.call(headers, next(left))
        connection.flush()
        await asyncio.wait((done, connection.lost), return_when=asyncio.FIRST_COMPLETED)
        seconds = loop.time() - began
    if answered < len(messages):
        raise RuntimeError(f"{len(messages) - answered} of {len(messages)} calls failed")
    return seconds


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return b"%b%c%c%b%b" % (
        len(body).to_bytes(3, "big"),
        kind,
        flags,
        stream.to_bytes(4, "big"),
        body,
    )


def _frames(buffer: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """The whole frames at the beginning of the buffer, which then begins behind them."""
    at, size = 0, len(buffer)
    while size - at >= 9:
        end = at + 9 + int.from_bytes(buffer[at : at + 3], "big")
        if end > size:
            break
        stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
        yield buffer[at + 3], buffer[at + 4], stream, bytes(buffer[at + 9 : end])
        at = end
    del buffer[:at]


def _text(value: str) -> bytes:
    encoded = value.encode()
    assert len(encoded) < 127, "longer ones need more than one byte for their length"
    return bytes([len(encoded)]) + encoded
