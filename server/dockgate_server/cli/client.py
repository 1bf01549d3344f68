"""The blocking connection to a server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate_server.cli.problem import Problem, from_rpc_error, usage

_ANSWER_SECONDS = 30.0
"""How long a call may take that is no watch."""

# A watch goes on soon after the server is back; gRPC would wait for up to two minutes.
_RECONNECT = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 5000))

# A watch over a path that has died without a word notices within 40 s.
_KEEPALIVE = (("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000))

_LARGEST_PAGE = 500

Response = TypeVar("Response")


@dataclass(frozen=True, slots=True)
class Client:
    """A connection and its address."""

    server: str
    channel: grpc.Channel
    stub: pb_grpc.CommandServiceStub

    def call(self, method: Callable[..., Response], request: object) -> Response:
        """Make a unary call.

        Raises:
            Problem: The call failed.
        """
        try:
            return method(request, timeout=_ANSWER_SECONDS)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.server) from error

    def pages(
        self, method: Callable[..., Response], request: Any, limit: int | None
    ) -> Iterator[Response]:
        """Page after page of a list, until the last one or so many entries were asked for.

        Raises:
            Problem: A call failed.
        """
        while limit is None or limit > 0:
            request.page_size = _LARGEST_PAGE if limit is None else min(limit, _LARGEST_PAGE)
            page: Any = self.call(method, request)
            yield page
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return
            if limit is not None:
                limit -= request.page_size


@contextmanager
def connected(server: str, tls_ca: Path | None) -> Iterator[Client]:
    """A connection to the server; nothing is sent before the first call.

    Raises:
        Problem: The address or the certificate file cannot be used.
    """
    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise usage(
            f"--server: {server!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:50051"
        )
    # A proxy that the environment names cannot reach this machine's own ports.
    own = host in ("127.0.0.1", "localhost", "[::1]")
    options = [*_RECONNECT, *_KEEPALIVE, ("grpc.enable_http_proxy", 0 if own else 1)]
    if tls_ca is None:
        channel = grpc.insecure_channel(server, options)
    else:
        try:
            credentials = grpc.ssl_channel_credentials(tls_ca.read_bytes())
        except OSError as error:
            raise Problem(f"--tls-ca: cannot read {tls_ca}: {error.strerror}") from error
        channel = grpc.secure_channel(server, credentials, options)
    with channel:
        yield Client(server, channel, pb_grpc.CommandServiceStub(channel))
