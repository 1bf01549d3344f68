"""gRPC frame by frame, for what no client library would send."""

import asyncio

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4
_EMPTY_MESSAGE = bytes(5)


async def ask(address: str, path: bytes, *metadata: tuple[bytes, bytes]) -> bytes:
    """Call a path, whatever its bytes, with an empty message; the frames that end the call.

    Headers come as they are on the wire: gRPC does not compress texts that it has not sent before.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"test"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *metadata,
        )
        block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        writer.write(_frame(_HEADERS, _END_HEADERS, 1, block))
        writer.write(_frame(_DATA, _END_STREAM, 1, _EMPTY_MESSAGE))
        answered = b""
        async with asyncio.timeout(10):
            while True:
                head = await reader.readexactly(9)
                content = await reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                if kind in (_HEADERS, _DATA):
                    answered += content
                    if flags & _END_STREAM:
                        return answered
                assert kind not in (_RST_STREAM, _GOAWAY), content
    finally:
        writer.close()


def _text(text: bytes) -> bytes:
    """A literal, not compressed."""
    assert len(text) < 127
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    head = len(content).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + content
