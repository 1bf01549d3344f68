"""The HTTP server: address, TLS, limits, and stopping."""

import ssl
from types import TracebackType

import structlog
from aiohttp import web

from dockgate_server.access.verifier import Verifier
from dockgate_server.commands import Commands
from dockgate_server.config import Http
from dockgate_server.errors import CannotListen, DockgateError, Reason
from dockgate_server.http.errors import error_response, internal_error
from dockgate_server.http.open_api import OpenApi
from dockgate_server.http.responses import new_request_id
from dockgate_server.inbox import Inbox

# Also ends connections that have never sent a whole request line and headers.
_IDLE_SECONDS = 75.0
_BODY_SECONDS = 30.0
# For what is left of a refused body: dropping the connection at once would let the client see
# a broken connection instead of the answer.
_LINGERING_SECONDS = 5.0
_LONGEST_LINE = 8190
_MOST_HEADERS = 64
_BACKLOG = 1024
_FIRST_SERVER_ERROR = 500
_SHORTEST_STOP_SECONDS = 0.01

_UNREADABLE = DockgateError(
    Reason.INVALID_REQUEST_BODY,
    "this is not an HTTP request that can be read, or a line of it is longer than "
    f"{_LONGEST_LINE} bytes, or it has more than {_MOST_HEADERS} headers",
)

_log = structlog.get_logger(__name__)


class HttpServer:
    """Serves the use cases over HTTP while it is entered.

    Args:
        settings: Where to listen, and the limits.
        commands: The use cases.
        verifier: Finds out who asks.
        stop_seconds: How long a stop waits for requests that are being answered.
        body_seconds: The longest that sending a body may take.
        inbox: The use cases about the requests of devices, where they are served.
    """

    def __init__(
        self,
        settings: Http,
        commands: Commands,
        verifier: Verifier,
        stop_seconds: float,
        *,
        body_seconds: float = _BODY_SECONDS,
        inbox: Inbox | None = None,
    ) -> None:
        self._settings = settings
        self._stop_seconds = stop_seconds
        self._api = OpenApi(commands, verifier, settings.max_body_bytes, body_seconds, inbox)
        self._runner: web.ServerRunner | None = None
        self.address = settings.listen
        """HOST:PORT; the port is the real one once the server has been entered."""

    async def __aenter__(self) -> "HttpServer":
        """Listen.

        Raises:
            CannotListen: The address is in use, or is not ours, or TLS files are unreadable.
        """
        listen = self._settings.listen
        host, _, port = listen.rpartition(":")
        tls = self._tls()
        # aiohttp waits so long twice, and for ever when it is 0.
        timeout = max(self._stop_seconds / 2, _SHORTEST_STOP_SECONDS)
        runner = web.ServerRunner(_Server(self._api), shutdown_timeout=timeout)
        await runner.setup()
        try:
            site = web.TCPSite(
                runner,
                host.strip("[]"),
                int(port),
                ssl_context=tls,
                backlog=_BACKLOG,
                # Two servers on one port would each get half of the requests.
                reuse_port=False,
            )
            await site.start()
        except OSError as error:
            await runner.cleanup()
            why = error.strerror or str(error)
            raise CannotListen(f"cannot listen for HTTP on {listen}: {why}") from error
        self._runner = runner
        self.address = f"{host}:{site.port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more requests and finish those that are being answered."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _tls(self) -> ssl.SSLContext | None:
        certificate, key = self._settings.tls_certificate, self._settings.tls_key
        if certificate is None or key is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise CannotListen(
                f"cannot use the TLS files for HTTP, {certificate} and {key}: {error}"
            ) from error
        return context


class _Server(web.Server):
    """aiohttp's server with our limits and our errors.

    Its router is not used: it matches the decoded path, but signed is the path as sent.
    """

    def __init__(self, api: OpenApi) -> None:
        # A client that goes away must not stop a submission halfway.
        super().__init__(api.handle, handler_cancellation=False)

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=self._loop,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGERING_SECONDS,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
            # Signed is the body as sent, and a small body must not become a large one.
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # this is how to have none
        )


class _Connection(web.RequestHandler):
    """A connection whose errors have the form of ours, also where HTTP itself is broken."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to what could not be read as a request; the connection ends with it."""
        error = internal_error() if status >= _FIRST_SERVER_ERROR else _UNREADABLE
        asked = new_request_id()
        _log.info("http_unreadable", request_id=asked, status=status, problem=type(exc).__name__)
        response = error_response(error, asked)
        response.force_close()
        return response
