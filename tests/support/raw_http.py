"""HTTP byte by byte, for what no client library would send."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

_LIMIT_SECONDS = 10


@dataclass(frozen=True)
class RawAnswer:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    """By lower-case names."""
    content: bytes

    @property
    def body(self) -> Any:
        """The JSON in it."""
        return orjson.loads(self.content)

    @property
    def code(self) -> str:
        """The reason of a refusal."""
        return str(self.body["code"])


def request(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes = b"",
    *,
    keep_alive: bool = False,
) -> bytes:
    """A request, written as it is given; UTF-8 where it is not ASCII.

    Its length and Host are added where it has neither; after the answer the server is to close.
    """
    lines = list(headers)
    names = {name.lower() for name, _ in lines}
    if "host" not in names:
        lines.insert(0, ("Host", "dockgate.example"))
    if body and not names & {"content-length", "transfer-encoding"}:
        lines.append(("Content-Length", str(len(body))))
    if not keep_alive:
        lines.append(("Connection", "close"))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


async def exchange(
    address: str, data: bytes, seconds: float = _LIMIT_SECONDS
) -> tuple[RawAnswer, ...]:
    """Send bytes over a connection of their own; every answer until the server closes it.

    Raises:
        TimeoutError: The server has not closed it in time.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(seconds):
            sending = asyncio.create_task(_send(writer, data))
            found = bytearray()
            try:
                while chunk := await reader.read(65536):
                    found += chunk
            except ConnectionError:
                # The server need not read to the end what it has refused.
                pass
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        writer.transport.abort()
    return tuple(answers(bytes(found)))


def answers(data: bytes) -> Iterator[RawAnswer]:
    """The responses in what a server sent, without interim ones."""
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        assert separator, data
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split()[1])
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        length = int(headers.get("content-length", 0)) if status >= 200 else 0
        data = rest[length:]
        if status >= 200:
            yield RawAnswer(status, headers, rest[:length])


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
