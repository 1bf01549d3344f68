"""What a worker and the gateway tell each other, over a pair of sockets that nobody else has.

Frames are tuples of plain values, the first of which says what it is. Those of one turn of the
event loop travel together, up to a limit: many calls share one system call on either side.
"""

import asyncio
import marshal
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")

Frame = tuple[Any, ...]

TOGETHER: Final = 256
"""Frames that travel in one piece: the other end must have a piece whole before it begins."""

_SIZE: Final = 8
"""Bytes that say how large a piece is: in 4 the largest answers of a turn might not fit."""


class Kind:
    """What a frame is; behind it come the values that are named here."""

    # To the worker.
    SERVE: Final = 1
    """The fields of :class:`~dockgate_server.rpc.workers.orders.Orders`."""
    MESSAGE: Final = 2
    """Call, message: one of several answers."""
    END: Final = 3
    """Call, status code, details, trailing metadata, the only answer or None."""
    READ: Final = 4
    """Call: its service asks for a request."""
    STOP: Final = 5
    """For how many seconds calls may still go on."""

    # Both ways.
    ALIVE: Final = 12
    """A question, and its answer."""

    # To the gateway.
    SERVING: Final = 6
    """It listens."""
    FAILED: Final = 7
    """Why it cannot listen."""
    CALL: Final = 8
    """Call, path, metadata, peer, the names in a certificate, the requests that have come."""
    REQUEST: Final = 9
    """Call, a request; None behind the last one, False for one that took too long."""
    CANCEL: Final = 10
    """Call: its client has gone."""
    WRITTEN: Final = 11
    """Call, the weight of its messages that gRPC has taken."""


_LIGHTEST: Final = 2048


def weight(message: bytes) -> int:
    """What holding a message counts for: its bytes, and something for a small one too.

    Both ends count by it, so that no frame has to say it of each message.
    """
    size = len(message)
    return size if size > _LIGHTEST else _LIGHTEST


class Mailbox(Generic[T]):
    """What has come, for one who takes it piece by piece and waits for more.

    Args:
        come: What has come already.
    """

    __slots__ = ("__weakref__", "_come", "_more")

    def __init__(self, come: Iterable[T] = ()) -> None:
        self._come = deque(come)
        self._more: asyncio.Future[None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the next :meth:`take` waits."""
        return not self._come

    def put(self, one: T) -> None:
        """Something has come."""
        self._come.append(one)
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    async def take(self) -> T:
        """The next of it."""
        while not self._come:
            self._more = asyncio.get_running_loop().create_future()
            await self._more
        return self._come.popleft()


class Channel(asyncio.Protocol):
    """One end.

    Args:
        received: Is given each frame.
        lost: Is called when the other end has gone.
    """

    def __init__(self, received: Callable[[Frame], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._out: list[Frame] = []
        self._in = bytearray()
        self._transport: asyncio.Transport | None = None

    def send(self, *frame: Any) -> None:
        """Send a frame, with all others of this turn of the loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def close(self) -> None:
        """Send what there is, and hang up."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The other end has gone."""
        self._transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take the frames that are whole."""
        self._in += data
        at, size = 0, len(self._in)
        while size - at >= _SIZE:
            end = at + _SIZE + int.from_bytes(self._in[at : at + _SIZE], "big")
            if end > size:
                break
            # Both ends are ours and of one Python: nobody else can write to this pair of sockets.
            for frame in marshal.loads(self._in[at + _SIZE : end]):  # noqa: S302  # nosec B302
                self._received(frame)
            at = end
        del self._in[:at]

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is None:
            return
        for at in range(0, len(out), TOGETHER):
            frames = marshal.dumps(out[at : at + TOGETHER])
            self._transport.write(len(frames).to_bytes(_SIZE, "big") + frames)
