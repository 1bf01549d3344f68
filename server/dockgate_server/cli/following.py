"""Watch streams that go on after a lost connection, with nothing lost and nothing twice."""

import random
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import grpc

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.cli.client import Client
from dockgate_server.cli.problem import from_rpc_error, is_unavailable, never_connected

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0

Response_co = TypeVar("Response_co", covariant=True)
Response = TypeVar("Response")


class _Stream(Protocol[Response_co]):
    """A call that streams, as far as it is used here."""

    def __iter__(self) -> Iterator[Response_co]: ...

    def cancel(self) -> bool: ...


OnLost = Callable[[float], None]
"""Told that the connection is lost, and after how many seconds the stream is opened again."""
Wait = Callable[[float], object]


def one_command(
    client: Client, request: pb.WatchCommandRequest, on_lost: OnLost, wait: Wait
) -> Iterator[command_pb2.CommandEvent]:
    """The events of a command behind ``request.after_revision``, to the end.

    Raises:
        Problem: The server refuses the watch, or was never there.
    """

    def open_stream() -> _Stream[pb.WatchCommandResponse]:
        return client.stub.WatchCommand(request)

    for response in resuming(open_stream, client.server, on_lost, wait):
        if response.HasField("event"):
            request.after_revision = response.event.revision
            yield response.event


def all_commands(
    client: Client, request: pb.WatchCommandsRequest, on_lost: OnLost, wait: Wait
) -> Iterator[pb.WatchCommandsResponse]:
    """Every event behind ``request.resume_token``, or from now; without end.

    Raises:
        Problem: The server refuses the watch, or was never there.
    """

    def open_stream() -> _Stream[pb.WatchCommandsResponse]:
        return client.stub.WatchCommands(request)

    for response in resuming(open_stream, client.server, on_lost, wait):
        request.resume_token = response.resume_token
        if response.HasField("event"):
            yield response


def resuming(
    open_stream: Callable[[], _Stream[Response]], server: str, on_lost: OnLost, wait: Wait
) -> Iterator[Response]:
    """What a stream gives, which is opened again when the connection is lost.

    Raises:
        Problem: The server refuses the stream, or was never there.
    """
    reached = False
    attempt = 0
    while True:
        stream = open_stream()
        try:
            for response in stream:
                reached, attempt = True, 0
                yield response
            return
        except grpc.RpcError as error:
            # Waiting for a server that was never there would hide a wrong address.
            reached = reached or not never_connected(error)
            if not (reached and is_unavailable(error)):
                raise from_rpc_error(error, server) from error
            delay = min(_FIRST_DELAY * 2**attempt, _LONGEST_DELAY) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            attempt = min(attempt + 1, 10)
            on_lost(delay)
        finally:
            stream.cancel()
        wait(delay)
