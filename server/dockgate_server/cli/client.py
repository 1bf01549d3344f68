"""The blocking connection to a server."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub
from dockgate_server import pem
from dockgate_server.cli.options import API_ID, API_KEY, Tls
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

    def call(
        self,
        method: Callable[..., Response],
        request: object,
        names: Mapping[str, str] | None = None,
    ) -> Response:
        """Make a unary call.

        Args:
            method: What to call.
            request: What with.
            names: What fields of the request are called on the command line, where that is not
                as everywhere.

        Raises:
            Problem: The call failed.
        """
        try:
            return method(request, timeout=_ANSWER_SECONDS)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.server, names) from error

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
                limit -= _entries(page)


@contextmanager
def connected(server: str, tls: Tls) -> Iterator[Client]:
    """A connection to the server; nothing is sent before the first call.

    Raises:
        Problem: The address, a file or the credentials in the environment cannot be used.
    """
    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise usage(
            f"--server: {server!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:50051"
        )
    # A proxy that the environment names cannot reach this machine's own ports.
    own = host in ("127.0.0.1", "localhost", "[::1]")
    options = [*_RECONNECT, *_KEEPALIVE, ("grpc.enable_http_proxy", 0 if own else 1)]
    credentials = _credentials(tls)
    if credentials is None:
        channel = grpc.insecure_channel(server, options)
    else:
        channel = grpc.secure_channel(server, credentials, options)
    with channel:
        yield Client(server, channel, pb_grpc.CommandServiceStub(channel))


@contextmanager
def device_service(server: str, tls: Tls) -> Iterator[tuple[Client, DeviceServiceStub]]:
    """A connection for what is asked about devices.

    Raises:
        Problem: As :func:`connected`.
    """
    with connected(server, tls) as client:
        yield client, DeviceServiceStub(client.channel)


def _entries(page: Any) -> int:
    """How many entries a page has: a server may give fewer than it was asked for."""
    return sum(len(value) for field, value in page.ListFields() if field.is_repeated)


def _credentials(tls: Tls) -> grpc.ChannelCredentials | None:
    """TLS, and who calls; None where there is to be no TLS."""
    if (tls.certificate is None) != (tls.key is None):
        raise usage("--tls-cert and --tls-key must be given together")
    api_id, secret = os.environ.get(API_ID, ""), os.environ.get(API_KEY, "")
    if bool(api_id) != bool(secret):
        raise usage(f"{API_ID} and {API_KEY} must be set together, or neither")
    if tls.ca is None:
        if tls.certificate is not None or api_id:
            shown = f"{API_ID} and {API_KEY} are" if api_id else "--tls-cert is"
            raise usage(f"{shown} for a server with TLS; name its authority with --tls-ca")
        return None
    if not f"{api_id}{secret}".isascii() or not f"{api_id}{secret}".isprintable():
        raise usage(f"{API_ID} and {API_KEY}: must be as dockgate keys create has printed them")
    credentials = grpc.ssl_channel_credentials(*_files(tls.ca, tls.certificate, tls.key))
    if not api_id:
        return credentials
    caller = grpc.access_token_call_credentials(f"{api_id}.{secret}")
    return grpc.composite_channel_credentials(credentials, caller)


def _files(
    ca: Path, certificate: Path | None, key: Path | None
) -> tuple[bytes, bytes | None, bytes | None]:
    """The authorities, the private key and its certificate; gRPC would not say what is wrong.

    Each is read once: it may be a pipe.
    """
    try:
        authorities = ca.read_bytes()
        pem.check_authorities(authorities, ca)
        if certificate is None or key is None:
            return authorities, None, None
        own = pem.read_once(certificate, key)
    except OSError as error:
        raise Problem(f"cannot read {error.filename}: {error.strerror}") from error
    except ValueError as wrong:
        raise Problem(str(wrong)) from wrong
    return authorities, own.key, own.certificate
