"""A TCP proxy that can go wrong: swallow everything, or only a broker's acknowledgements."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

PUBACK, SUBACK = 4, 9
"""The types of the MQTT packets that acknowledge a PUBLISH of QoS 1 and a SUBSCRIBE."""


@dataclass
class Proxy:
    """Stands between clients and a server."""

    server: str
    address: str = ""
    frozen: bool = False
    """Forward nothing, without closing anything."""
    withheld: int | None = None
    """The type of MQTT packets that clients who connect from now on do not get."""
    has_withheld: asyncio.Event = field(default_factory=asyncio.Event)
    """There has been such a packet."""
    connections: int = 0
    """How many there have been."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def hang_up(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.connections += 1
        from_server, to_server = await asyncio.open_connection(*self.server.split(":"))
        self._writers += [writer, to_server]
        passing: Callable[[bytes], bytes] = bytes
        if self.withheld is not None:
            passing = partial(self._without, self.withheld, bytearray())
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._forward(reader, to_server, bytes), self._forward(from_server, writer, passing)
            )

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: Callable[[bytes], bytes],
    ) -> None:
        while data := await reader.read(65_536):
            if not self.frozen:
                writer.write(passing(data))
        writer.close()

    def _without(self, kind: int, unread: bytearray, data: bytes) -> bytes:
        """What is whole of the MQTT packets, but for those of one type; the rest stays unread."""
        unread += data
        passing = bytearray()
        while (whole := _length(unread)) is not None:
            if unread[0] >> 4 == kind:
                self.has_withheld.set()
            else:
                passing += unread[:whole]
            del unread[:whole]
        return bytes(passing)


@asynccontextmanager
async def before(server: str) -> AsyncIterator[Proxy]:
    """A proxy before the server on that HOST:PORT."""
    proxy = Proxy(server)
    async with await asyncio.start_server(proxy.connect, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        proxy.address = f"{host}:{port}"
        yield proxy
        proxy.hang_up()


def _length(packets: bytearray) -> int | None:
    """The length of the first packet; None while it is not there as a whole."""
    # What stands behind the first byte has seven bits in each byte, the lowest first.
    end = next((at for at in range(1, min(5, len(packets))) if packets[at] < 0x80), None)
    if end is None:
        return None
    rest = sum((packets[at] & 0x7F) << (7 * (at - 1)) for at in range(1, end + 1))
    whole = end + 1 + rest
    return whole if len(packets) >= whole else None
