"""Reading what a call asks, in limited time, and writing what it is answered.

gRPC itself waits for the request of a call as long as the connection lives, and holds 21 KiB for
each: calls that never say what they want would fill the memory.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

from dockgate_server import errors
from dockgate_server.clock import Clock, Handle
from dockgate_server.errors import DockgateError, Reason

Context = aio.ServicerContext[Any, Any]

Read = Callable[[bytes], Any]
"""Makes a message of its bytes, or raises a DockgateError VALIDATION_FAILED, PAYLOAD_TOO_LARGE."""


class NothingCame(DockgateError):
    """The client has sent no request: mostly because it has cancelled the call and is gone."""

    def __init__(self) -> None:
        super().__init__(Reason.VALIDATION_FAILED, "the call carries no request message")


class TooSlow(DockgateError):
    """The request did not come in time."""


def reader(message: Descriptor, largest: int) -> Read:
    """What reads messages of a type that have so many bytes at most."""
    parse = GetMessageClass(message).FromString

    def read(raw: bytes) -> Any:
        if len(raw) > largest:
            raise errors.too_large("the request", largest)
        try:
            return parse(raw)
        except DecodeError:
            raise DockgateError(
                Reason.VALIDATION_FAILED, f"the request is no {message.full_name} that can be read"
            ) from None

    return read


class Arrival:
    """Reads requests, and gives up those that do not come.

    Args:
        clock: The time; its monotonic one.
        seconds: How long the next message of a call may take.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        # By the tasks that wait, in the order in which they began to: one timer does for all.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._given_up: set[asyncio.Task[Any]] = set()
        self._timer: Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def next(self, context: Context) -> bytes:
        """The next message of a call.

        Raises:
            DockgateError: NothingCame, TooSlow.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # asked each time, it costs a system call
        task = asyncio.current_task(self._loop)
        assert task is not None
        until = self._clock.monotonic() + self._seconds
        self._waiting[task] = until
        if self._timer is None:
            self._timer = self._clock.call_at(until, self._give_up)
        try:
            raw = await context.read()
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            self._given_up.discard(task)
            if task.uncancel():
                raise  # its client has gone at the same moment
            why = f"the request did not arrive within {self._seconds:g} s"
            raise TooSlow(Reason.VALIDATION_FAILED, why) from None
        finally:
            del self._waiting[task]
        if not isinstance(raw, bytes):  # the stream has ended
            raise NothingCame
        return raw

    def _give_up(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for task, until in self._waiting.items():
            if until > now:
                self._timer = self._clock.call_at(until, self._give_up)
                return
            if task not in self._given_up:
                self._given_up.add(task)
                task.cancel()


async def write(context: Context, message: Any) -> None:
    """Send one of several answers.

    Raises:
        asyncio.CancelledError: The client has gone meanwhile, which gRPC calls an error of its own.
    """
    try:
        await context.write(message)
    except cygrpc.ExecuteBatchError:
        raise asyncio.CancelledError from None
