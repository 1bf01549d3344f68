"""A call that a worker has handed on, as services see calls."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import structlog
from grpc import aio

from dockgate_server.errors import Reason
from dockgate_server.rpc.arrival import TooSlow
from dockgate_server.rpc.workers.channel import Channel, Kind, Mailbox, weight

MOST_UNWRITTEN: Final = 65_536
"""Bytes of one call's messages that its worker may hold, and the message that goes beyond it: who
reads slowly makes its service wait, instead of filling the worker's memory."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_OK: Final = grpc.StatusCode.OK.value[0]
_UNKNOWN: Final = grpc.StatusCode.UNKNOWN.value[0]

_Metadata = Sequence[tuple[str, str | bytes]]

_log = structlog.get_logger(__name__)


class Call:
    """Stands for gRPC's context of a call; what nobody asks of one is not here.

    Args:
        channel: The way to the worker.
        number: The worker's number of the call.
        metadata: As the client sent it.
        peer: The client's address, as gRPC writes it.
        names: What TLS has verified of the client's certificate.
        requests: Those that have come with the call; None behind the last there will be, False for
            one that took too long.
        ended: Is called with the number when the service has ended with the call by itself.
    """

    __slots__ = (
        "_channel",
        "_ended",
        "_metadata",
        "_names",
        "_number",
        "_peer",
        "_requests",
        "_room",
        "_status",
        "_task",
        "_trailing",
        "_unwritten",
        "_write",
    )

    def __init__(
        self,
        channel: Channel,
        number: int,
        metadata: _Metadata,
        peer: str,
        names: Mapping[str, Iterable[bytes]],
        requests: Iterable[bytes | bool | None],
        ended: Callable[[int], object],
    ) -> None:
        self._channel = channel
        self._ended = ended
        self._number = number
        self._metadata = metadata
        self._peer = peer
        self._names = names
        self._requests: Mailbox[bytes | bool | None] = Mailbox(requests)
        self._status = (_OK, "")
        self._trailing: _Metadata = ()
        self._unwritten = 0
        self._room: asyncio.Future[None] | None = None

    # What the worker says of it.

    def begin(self, handler: Handler) -> asyncio.Task[None]:
        """Have it answered."""
        self._write: Any = handler.response_serializer
        task = asyncio.create_task(self._answer(handler))
        self._task: asyncio.Task[None] | None = task
        return task

    def requested(self, request: bytes | bool | None) -> None:
        """What the client has sent, as the service has asked for it."""
        self._requests.put(request)

    def written(self, size: int) -> None:
        """Messages of so much weight have been taken by gRPC."""
        self._unwritten -= size
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def cancel(self) -> None:
        """The client has gone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    # What services ask of a context.

    def invocation_metadata(self) -> _Metadata:
        """What the client sent beside its requests."""
        return self._metadata

    def peer(self) -> str:
        """The client's address, as gRPC writes it."""
        return self._peer

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """The names in the client's certificate."""
        return self._names

    def set_trailing_metadata(self, metadata: _Metadata) -> None:
        """What the client gets behind the answer."""
        self._trailing = metadata

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: _Metadata = ()
    ) -> NoReturn:
        """End the call with an error."""
        self._status = (code.value[0], details)
        self._trailing = trailing_metadata or self._trailing
        raise aio.AbortError

    async def read(self) -> Any:
        """The next request, or that there are no more of them.

        Raises:
            TooSlow: It did not come in time.
        """
        if self._requests.is_empty:
            # One at a time: what nobody wants to read stays with the client.
            self._channel.send(Kind.READ, self._number)
        request = await self._requests.take()
        if request is None:
            self._requests.put(None)
            return aio.EOF  # type: ignore[attr-defined]  # its types do not know it
        if request is False:
            raise TooSlow(Reason.VALIDATION_FAILED, "the request did not arrive in time")
        return request

    async def write(self, message: Any) -> None:
        """Send one of several answers; waits while the client does not keep up."""
        while self._unwritten >= MOST_UNWRITTEN:
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        written = self._write(message)
        self._unwritten += weight(written)
        self._channel.send(Kind.MESSAGE, self._number, written)

    async def _answer(self, handler: Handler) -> None:
        only = None
        behaviour: Any = handler.stream_stream or handler.stream_unary
        try:
            answer = await behaviour(None, self)
            if not handler.response_streaming:
                only = self._write(answer)
        except aio.AbortError:
            pass
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and self._is_cancelled():
                self._is_over()
                raise
            # Services turn their errors into statuses: this one is a bug, and not for clients.
            _log.error("call_not_answered", exc_info=error)
            self._status = (_UNKNOWN, "")
        trailing = [tuple(one) for one in self._trailing]
        self._channel.send(Kind.END, self._number, *self._status, trailing, only)
        self._is_over()

    def _is_cancelled(self) -> bool:
        """Whether nobody waits for an end: the client has gone, or this process ends.

        What a service waits for may have been cancelled just as well, and then its client waits.
        """
        return self._task is None or self._task.cancelling() > 0

    def _is_over(self) -> None:
        # A task that stayed here would be part of a circle, which is only found now and then.
        self._task = None
        self._ended(self._number)
