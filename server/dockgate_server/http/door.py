"""Where connections come in; with TLS they are counted before anything is made for them.

An event loop that accepts by itself makes 256 KiB for the TLS of each connection, and tells of it
only after the handshake: who connects and says nothing could have as many of them as he likes.
"""

import asyncio
import errno
import socket
import ssl
from typing import Final

import structlog

from dockgate_server.http.connections import LINGERING_SECONDS, Connection, Connections

_AT_ONCE: Final = 64
"""Connections that are taken before others get their turn."""

_PAUSE_SECONDS: Final = 1.0
"""When the system has nothing left for another connection."""

_log = structlog.get_logger(__name__)


class Door:
    """Listens. One connection too many is closed with TLS, and without it is told why.

    Args:
        connections: Has the limits, and serves those who are in.
        context: TLS, where it is spoken.
    """

    def __init__(self, connections: Connections, context: ssl.SSLContext | None) -> None:
        self._connections = connections
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._listening: list[socket.socket] = []
        self._beginning: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int, backlog: int) -> int:
        """Listen on each address that the host has; answers with the port.

        Raises:
            OSError: An address is in use, or is not ours, or there is none on which to listen.
        """
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        unspoken: OSError | None = None
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                try:
                    # Two servers on one port would each get half of the requests.
                    listening = socket.create_server(
                        (address[0], port), family=family, backlog=backlog, reuse_port=False
                    )
                except OSError as error:
                    if not _is_unspoken(error, family):
                        raise
                    unspoken = unspoken or error
                    continue  # names may have addresses that this machine does not speak
                listening.setblocking(False)
                self._listening.append(listening)
                port = int(listening.getsockname()[1])
            if unspoken is not None and not self._listening:
                raise unspoken
        except OSError:
            await self.close()
            raise
        for listening in self._listening:
            self._listen(listening)
        return port

    async def close(self) -> None:
        """Take no more, and end handshakes that are under way; who is in stays."""
        for listening in self._listening:
            self._loop.remove_reader(listening)
            listening.close()
        self._listening = []
        # Each has to begin: one that is cancelled before would leave its socket open.
        await asyncio.sleep(0)
        for beginning in self._beginning:
            beginning.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _listen(self, listening: socket.socket) -> None:
        """Wait for the next one, unless the door has been closed meanwhile."""
        if listening in self._listening:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("http_cannot_accept", problem=str(error))
                # It would be told of at once again, and again.
                self._loop.remove_reader(listening)
                self._loop.call_later(_PAUSE_SECONDS, self._listen, listening)
                return
            self._admit(accepted, str(address[0]))

    def _admit(self, accepted: socket.socket, address: str) -> None:
        tls = self._context is not None
        limit = self._connections.limit_reached(address) if tls else None
        if limit is not None:
            self._connections.refusals.note(limit[0], address, proven=False)
            accepted.close()
            return
        connection = self._connections()
        if tls:
            connection.enter(address)
        beginning = self._loop.create_task(self._begin(connection, accepted), name="http-begin")
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: Connection, accepted: socket.socket) -> None:
        tls = self._context is not None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                # By themselves the loops let a client take a minute.
                ssl_handshake_timeout=self._connections.settings.head_seconds if tls else None,
                ssl_shutdown_timeout=LINGERING_SECONDS if tls else None,
            )
        except OSError:
            pass  # it does not speak TLS, or not in time, or has gone
        finally:
            if connection.transport is None:  # nobody else will say that it is over
                connection.leave()


def _is_unspoken(error: OSError, family: int) -> bool:
    """Whether this machine does not speak the family at all, or IPv6 is switched off on it."""
    if family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL:
        return True
    return error.errno == errno.EAFNOSUPPORT
