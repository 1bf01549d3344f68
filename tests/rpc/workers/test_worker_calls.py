"""What goes over the channel between a worker and the gateway, and how much of it waits."""

import asyncio
import gc
import marshal
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc
from support.log import Log

from dockgate_server.rpc.arrival import TooSlow, write
from dockgate_server.rpc.workers.call import Call
from dockgate_server.rpc.workers.channel import TOGETHER, Channel, Frame, Kind, weight
from dockgate_server.rpc.workers.pool import _Worker


class Pipe(asyncio.Transport):
    """Leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += data

    def close(self) -> None:
        """Nothing is open."""


def connected(received: list[Frame] | None = None) -> tuple[Channel, Pipe]:
    """A channel, and what it writes to."""
    taken: list[Frame] = [] if received is None else received
    channel, pipe = Channel(taken.append, lambda: None), Pipe()
    channel.connection_made(pipe)
    return channel, pipe


async def frames(pipe: Pipe) -> list[Frame]:
    """What has been sent until now: a service may begin in one turn, and answer in the next."""
    for _ in range(3):
        await asyncio.sleep(0)
    received: list[Frame] = []
    connected(received)[0].data_received(pipe.written)
    pipe.written = b""
    return received


async def test_frames_of_one_turn_travel_together_and_in_order() -> None:
    """One call of the system for all of them."""
    channel, pipe = connected()
    sent: list[Frame] = [(Kind.MESSAGE, number, b"x" * number) for number in range(100)]
    for frame in sent:
        channel.send(*frame)
    assert pipe.written == b""
    assert await frames(pipe) == sent


async def test_frames_may_come_in_any_pieces() -> None:
    """The system cuts where it likes."""
    channel, pipe = connected()
    sent: list[Frame] = [(Kind.CALL, 1, "/a", [("k", "v")], "peer", {"n": [b"x"]}, (b"", None))]
    for frame in (*sent, (Kind.CANCEL, 2)):
        channel.send(*frame)
    await asyncio.sleep(0)
    for size in (1, 3, len(pipe.written) - 1):
        received: list[Frame] = []
        other, _ = connected(received)
        for at in range(0, len(pipe.written), size):
            other.data_received(pipe.written[at : at + size])
        assert received == [*sent, (Kind.CANCEL, 2)]


async def test_what_is_sent_last_leaves_before_the_channel_closes() -> None:
    """The word that a worker cannot listen, for one."""
    channel, pipe = connected()
    channel.send(Kind.FAILED, "why")
    channel.close()
    assert await frames(pipe) == [(Kind.FAILED, "why")]


def call(channel: Channel, *requests: bytes | bool | None) -> Call:
    """A call that has come with these requests."""
    return Call(channel, 7, (("name", "value"),), "ipv4:127.0.0.1:1", {}, requests, lambda _: None)


@asynccontextmanager
async def answering(
    handler: Any, *requests: bytes | bool | None
) -> AsyncIterator[tuple[Call, Pipe]]:
    """A call that a service is answering."""
    channel, pipe = connected()
    one = call(channel, *requests)
    task = one.begin(handler)
    yield one, pipe
    one.cancel()
    await asyncio.wait((task,))


@pytest.mark.parametrize("end", [None, ValueError(), asyncio.CancelledError()])
async def test_a_call_is_forgotten_however_its_service_ends(end: BaseException | None) -> None:
    """Else the gateway would hold it for ever."""
    channel, _ = connected()
    over: list[int] = []
    one = Call(channel, 7, (), "ipv4:127.0.0.1:1", {}, (b"",), over.append)

    async def behaviour(_: Any, context: Call) -> bytes:
        if end is not None:
            raise end
        return b"done"

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    await asyncio.wait((one.begin(handler),))
    assert over == [7]


async def test_a_call_is_forgotten_whose_client_has_gone_before_it_began() -> None:
    """Its task is cancelled before its first step, and so does nothing by itself."""
    channel, pipe = connected()
    channel.send(Kind.CALL, 7, "/a", [], "peer", {}, (b"",))
    channel.send(Kind.CANCEL, 7)
    await asyncio.sleep(0)

    async def behaviour(_: Any, context: Call) -> bytes:
        raise AssertionError("nobody wants it")

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    begun: list[asyncio.Task[None]] = []

    def opened(worker: _Worker, _: Frame) -> Call:
        one = Call(worker.channel, 7, (), "peer", {}, (b"",), worker.ended)
        begun.append(one.begin(handler))
        return one

    worker = _Worker(opened)
    worker.channel.connection_made(Pipe())
    worker.channel.data_received(pipe.written)
    await asyncio.wait(begun)
    assert begun[0].cancelled()
    assert worker._calls == {}


@pytest.mark.parametrize(("size", "held"), [(0, 32), (2048, 32), (20_000, 4), (262_144, 1)])
async def test_a_service_waits_for_a_client_that_reads_slowly(size: int, held: int) -> None:
    """The worker holds so many bytes and no more; what gRPC takes makes room."""
    written = 0
    message = bytes(size)

    async def behaviour(_: Any, context: Call) -> None:
        nonlocal written
        while True:
            await context.write(message)
            written += 1

    handler = grpc.stream_stream_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    async with answering(handler, b"") as (one, pipe):
        assert await frames(pipe) == [(Kind.MESSAGE, 7, message)] * held
        one.written(held * weight(message))
        assert await frames(pipe) == [(Kind.MESSAGE, 7, message)] * held
        assert written == 2 * held


async def test_requests_are_read_as_they_come_and_end_once_and_for_all() -> None:
    """However often a service asks behind the last."""
    read: list[Any] = []

    async def behaviour(_: Any, context: Call) -> bytes:
        read.extend([await context.read() for _ in range(4)])
        return b"done"

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    async with answering(handler, b"1") as (one, pipe):
        assert await frames(pipe) == [(Kind.READ, 7)]
        one.requested(b"2")
        assert await frames(pipe) == [(Kind.READ, 7)]
        one.requested(None)
        assert await frames(pipe) == [(Kind.END, 7, 0, "", [], b"done")]
        end = grpc.aio.EOF  # type: ignore[attr-defined]
        assert read == [b"1", b"2", end, end]


async def test_a_request_that_took_too_long_is_told_as_such() -> None:
    """It is in the worker that it did not come."""
    problems: list[Exception] = []

    async def behaviour(_: Any, context: Call) -> bytes:
        try:
            await context.read()
        except TooSlow as problem:
            problems.append(problem)
        return b""

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    async with answering(handler, False) as (_, pipe):
        await frames(pipe)
    assert [str(problem) for problem in problems] == ["the request did not arrive in time"]


async def test_a_call_whose_client_has_gone_leaves_nothing_behind() -> None:
    """Not even until somebody looks for circles: its requests may be large."""

    async def behaviour(_: Any, context: Call) -> bytes:
        await context.read()
        raise AssertionError("it waits")

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    gc.collect()
    gc.disable()
    try:
        async with answering(handler) as (one, pipe):
            await frames(pipe)
            left = weakref.ref(one._requests)
        for _ in range(3):
            await asyncio.sleep(0)
        del one
        assert left() is None
    finally:
        gc.enable()


async def test_what_cannot_be_sent_does_not_keep_the_rest_from_it() -> None:
    """A frame of something that is no plain value is a bug; all calls must not hang for it."""
    channel, pipe = connected()
    channel.send(Kind.MESSAGE, object())
    with pytest.raises(ValueError, match="unmarshallable"):
        channel._flush()
    channel.send(Kind.CANCEL, 1)
    assert await frames(pipe) == [(Kind.CANCEL, 1)]


async def test_a_bug_is_not_told_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """Only that something went wrong."""

    async def behaviour(_: Any, context: Call) -> bytes:
        raise RuntimeError("secret")

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    async with answering(handler, b"") as (_, pipe):
        await asyncio.sleep(0)
        assert await frames(pipe) == [(Kind.END, 7, 2, "", [], None)]


async def test_a_client_that_leaves_while_it_is_answered_is_no_error() -> None:
    """GRPC calls it one, and it would be logged as a bug of ours."""

    class Gone:
        async def write(self, message: Any) -> None:
            raise cygrpc.ExecuteBatchError("Failed grpc_call_start_batch: 10")

    context: Any = Gone()
    with pytest.raises(asyncio.CancelledError):
        await write(context, b"")


async def test_who_waits_hears_of_a_service_that_was_cancelled_from_within(log: Log) -> None:
    """By something that it waited for: its client is still there, and would wait for ever."""

    async def behaviour(_: Any, context: Call) -> bytes:
        raise asyncio.CancelledError

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    async with answering(handler, b"") as (_, pipe):
        assert await frames(pipe) == [(Kind.END, 7, 2, "", [], None)]
    assert [line["event"] for line in log] == ["call_not_answered"]


async def test_a_client_that_has_gone_hears_nothing(log: Log) -> None:
    """Nor does the log, when its service ends for that."""

    async def behaviour(_: Any, context: Call) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError("it waits")

    handler = grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=bytes)  # type: ignore[arg-type]
    async with answering(handler, b"") as (one, pipe):
        assert await frames(pipe) == []
        one.cancel()
        assert await frames(pipe) == []
    assert log == []


async def test_more_than_fits_into_one_piece_leaves_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In order; the other end begins before it has all of it."""
    channel, pipe = connected()
    sent: list[Frame] = [(Kind.MESSAGE, number, b"x") for number in range(3 * TOGETHER + 1)]
    for frame in sent:
        channel.send(*frame)
    pieces: list[Any] = []
    monkeypatch.setattr(pipe, "write", pieces.append)
    await asyncio.sleep(0)
    assert len(pieces) == 4
    pipe.written = b"".join(pieces)
    assert await frames(pipe) == sent


async def test_a_piece_may_be_larger_than_32_bits_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers of a turn would be lost otherwise."""

    class Large(bytes):
        def __len__(self) -> int:
            return 5 << 30

    channel, pipe = connected()
    monkeypatch.setattr(marshal, "dumps", lambda _: Large(b"frames"))
    channel.send(Kind.CANCEL, 1)
    channel._flush()
    assert pipe.written == (5 << 30).to_bytes(8, "big") + b"frames"
