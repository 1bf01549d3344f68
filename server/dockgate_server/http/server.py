"""The HTTP server: address, TLS, limits, and stopping."""

import errno
import ssl
from types import TracebackType

from aiohttp import web

from dockgate_server import tls
from dockgate_server.access.verifier import Verifier
from dockgate_server.audit import Refused, unheard
from dockgate_server.commands import Commands
from dockgate_server.config import Http
from dockgate_server.errors import CannotListen, cannot_listen
from dockgate_server.http import origin
from dockgate_server.http.connections import Connections
from dockgate_server.http.door import Door
from dockgate_server.http.open_api import OpenApi
from dockgate_server.inbox import Inbox
from dockgate_server.limits import Limits, unlimited
from dockgate_server.tls import TlsProblem

_BACKLOG = 1024
_SHORTEST_STOP_SECONDS = 0.01


class HttpServer:
    """Serves the use cases over HTTP while it is entered.

    Args:
        settings: Where to listen, and the limits.
        commands: The use cases.
        verifier: Finds out who asks.
        stop_seconds: How long a stop waits for requests that are being answered.
        inbox: The use cases about the requests of devices, where they are served.
        limits: Writes down who is refused, and who has reached a limit of connections.
        refused: Hears of each request that is refused.
    """

    def __init__(
        self,
        settings: Http,
        commands: Commands,
        verifier: Verifier,
        stop_seconds: float,
        *,
        inbox: Inbox | None = None,
        limits: Limits | None = None,
        refused: Refused = unheard,
    ) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        self._refusals = (limits or unlimited()).refusals
        self._api = OpenApi(
            commands,
            verifier,
            settings.max_body_bytes,
            settings.body_seconds,
            inbox,
            origin_of=origin.of_proxy if settings.trusted_proxy else origin.of_socket,
            refused=refused,
            refusals=self._refusals,
        )
        self._runner: web.ServerRunner | None = None
        self._door: Door | None = None
        self.address = settings.listen
        """HOST:PORT; the port is the real one once the server has been entered."""

    async def __aenter__(self) -> "HttpServer":
        """Listen.

        Raises:
            CannotListen: The address is in use, or is not ours, or TLS files are unreadable.
        """
        settings = self._settings
        listen = settings.listen
        host, _, port = listen.rpartition(":")
        context = self._tls()
        # aiohttp waits so long twice, and for ever when it is 0.
        timeout = max(self._stop_seconds / 2, _SHORTEST_STOP_SECONDS)
        connections = Connections(self._api, settings, self._refusals)
        runner = web.ServerRunner(connections, shutdown_timeout=timeout)
        await runner.setup()
        door = Door(connections, context)
        try:
            opened = await door.open(host.strip("[]"), int(port), _BACKLOG)
        except OSError as error:
            await runner.cleanup()
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise cannot_listen("HTTP", listen) from error
            raise cannot_listen("HTTP", listen, error.strerror or str(error)) from error
        self._runner, self._door = runner, door
        self.address = f"{host}:{opened}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more requests and finish those that are being answered."""
        if self._door is not None and self._runner is not None:
            await self._door.close()
            await self._runner.cleanup()
            self._door = self._runner = None

    def _tls(self) -> ssl.SSLContext | None:
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        if certificate is None or key is None:
            return None
        try:
            return tls.server_context("HTTP", certificate, key)
        except TlsProblem as error:
            raise CannotListen(str(error)) from error
