"""gRPC frame by frame, for what no client library would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4


async def ask(address: str, path: bytes, *metadata: tuple[bytes, bytes]) -> bytes:
    """Call a path, whatever its bytes, with an empty message; the frames that end the call.

    Headers come as they are on the wire: gRPC does not compress texts that it has not sent before.
    """
    async with connected(address) as connection:
        return await connection.ended(connection.call(path, *metadata))


@asynccontextmanager
async def connected(address: str, *, reads: bool = True) -> AsyncIterator["Connection"]:
    """A connection; with ``reads=False`` one that takes nothing of what it is answered."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    settings = b"" if reads else _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + bytes(4)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, settings))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


class Connection:
    """A connection on which calls are made; 10 s for each answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._streams = count(1, 2)

    def call(self, path: bytes, *metadata: tuple[bytes, bytes], message: bytes | None = b"") -> int:
        """Begin a call; with None it never says what it wants."""
        headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"test"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *metadata,
        )
        stream = next(self._streams)
        block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
        self._writer.write(_frame(_HEADERS, _END_HEADERS, stream, block))
        if message is not None:
            content = b"\x00" + len(message).to_bytes(4, "big") + message
            self._writer.write(_frame(_DATA, _END_STREAM, stream, content))
        return stream

    async def ended(self, stream: int) -> bytes:
        """The frames of a call up to its end."""
        return await self._until(stream, _END_STREAM)

    async def begun(self, stream: int) -> bytes:
        """The first frame of what a call is answered."""
        return await self._until(stream, _END_HEADERS | _END_STREAM)

    async def _until(self, stream: int, wanted: int) -> bytes:
        answered = b""
        async with asyncio.timeout(10):
            while True:
                head = await self._reader.readexactly(9)
                content = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags, of = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind in (_HEADERS, _DATA) and of == stream:
                    answered += content
                    if flags & wanted:
                        return answered
                assert of not in (0, stream) or kind not in (_RST_STREAM, _GOAWAY), content


def _text(text: bytes) -> bytes:
    """A literal, not compressed."""
    assert len(text) < 127
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    head = len(content).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + content
