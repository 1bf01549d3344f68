"""What a worker does with one call: reads for it, writes for it, and tells the gateway."""

import asyncio
from typing import Any, NamedTuple

import grpc
import pytest
from support.clock import ManualClock

from dockgate_server.rpc.listening import Terms
from dockgate_server.rpc.workers.call import MOST_UNWRITTEN
from dockgate_server.rpc.workers.channel import Channel, Frame, Kind, Mailbox, weight
from dockgate_server.rpc.workers.forwarding import TOLD_AFTER, Forwarding
from dockgate_server.rpc.workers.orders import Method, Orders

SECONDS = 30.0
ONCE, SEVERAL, BOTH_WAYS = "/s/Once", "/s/Several", "/s/BothWays"


class Context:
    """A call as gRPC shows it; the test plays the client."""

    def __init__(self) -> None:
        self.asked = 0
        """How often a request was asked for."""
        self.come: Mailbox[Any] = Mailbox()
        self.given_up = False
        self.taken: list[bytes] = []

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """None."""
        return ()

    def peer(self) -> str:
        """Somebody."""
        return "ipv4:127.0.0.1:1"

    async def read(self) -> Any:
        """The next request, when the test puts one."""
        self.asked += 1
        try:
            return await self.come.take()
        except asyncio.CancelledError:
            self.given_up = True
            raise

    async def write(self, message: bytes) -> None:
        """Taken at once."""
        self.taken.append(message)

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Nobody looks."""


class Details(NamedTuple):
    """What gRPC asks for a handler by."""

    method: str
    invocation_metadata: Any = ()


class Forwarded:
    """Calls of a worker whose gateway is the test."""

    def __init__(self, tls: tuple[str, str, str | None] | None = None) -> None:
        self.sent: list[Frame] = []
        self.clock = ManualClock()
        channel = Channel(lambda _: None, lambda: None)
        channel.send = lambda *frame: self.sent.append(frame)  # type: ignore[method-assign]
        terms = Terms("127.0.0.1:0", [], 100, tls)
        methods = {
            ONCE: Method(asks_once=True, answers_once=True),
            SEVERAL: Method(asks_once=True, answers_once=False),
            BOTH_WAYS: Method(asks_once=False, answers_once=False),
        }
        orders = Orders(terms, SECONDS, ("info", "text"), methods, {})
        self.forwarding = Forwarding(channel, orders, self.clock)

    def begin(self, path: str, context: Context) -> "asyncio.Task[Any]":
        """A client calls."""
        handler = self.forwarding.service(Details(path))
        return asyncio.create_task((handler.stream_unary or handler.stream_stream)(None, context))

    def gateway(self, kind: int, *said: Any) -> None:
        """What the gateway says of the first call."""
        self.forwarding.answered((kind, 1, *said))

    async def told(self) -> list[Frame]:
        """What the gateway has been told since it was last asked."""
        for _ in range(5):
            await asyncio.sleep(0)
        told = self.sent[:]
        self.sent.clear()
        return told


@pytest.mark.parametrize("size", [10, 2048, 5000, 262_144])
async def test_the_gateway_is_told_before_its_service_waits(size: int) -> None:
    """However large messages are: else it would wait for ever. Small ones need few frames."""
    one, context, message = Forwarded(), Context(), bytes(size)
    call = one.begin(SEVERAL, context)
    context.come.put(b"")
    await one.told()
    sent = taken = frames = 0
    for _ in range(100):
        while sent - taken < MOST_UNWRITTEN:
            one.gateway(Kind.MESSAGE, message)
            sent += weight(message)
        for kind, number, size_taken in await one.told():
            assert (kind, number) == (Kind.WRITTEN, 1)
            taken += size_taken
            frames += 1
        assert sent - taken < TOLD_AFTER
    assert frames <= sent / TOLD_AFTER
    one.gateway(Kind.END, grpc.StatusCode.OK.value[0], "", [], None)
    await call
    assert await one.told() == []


async def test_one_request_is_read_at_a_time() -> None:
    """Also when the gateway asks twice; what nobody wants to read stays with the client."""
    one, context = Forwarded(), Context()
    call = one.begin(BOTH_WAYS, context)
    await one.told()
    for _ in range(2):
        one.gateway(Kind.READ)
        await one.told()
    assert context.asked == 1
    context.come.put(b"first")
    assert await one.told() == [(Kind.REQUEST, 1, b"first")]
    one.gateway(Kind.READ)
    await one.told()
    assert context.asked == 2
    call.cancel()


async def test_nothing_is_read_for_a_call_that_has_ended() -> None:
    """A reading that waits on would hold the call."""
    one, context = Forwarded(), Context()
    call = one.begin(BOTH_WAYS, context)
    await one.told()
    one.gateway(Kind.READ)
    await one.told()
    assert not context.given_up
    one.gateway(Kind.END, grpc.StatusCode.OK.value[0], "", [], None)
    await call
    await one.told()
    assert context.given_up


@pytest.mark.parametrize("path", [ONCE, SEVERAL])
@pytest.mark.parametrize(
    ("comes", "handed_on"), [("too late", False), ("never", None), ("in time", b"request")]
)
async def test_how_the_request_came_is_handed_on(path: str, comes: str, handed_on: Any) -> None:
    """That there is none, and that one took too long, are told apart."""
    one, context = Forwarded(), Context()
    call = one.begin(path, context)
    assert await one.told() == []
    if comes == "too late":
        one.clock.advance(SECONDS)
    else:
        context.come.put(grpc.aio.EOF if comes == "never" else b"request")  # type: ignore[attr-defined]
    (frame,) = await one.told()
    assert frame == (Kind.CALL, 1, path, [], "ipv4:127.0.0.1:1", {}, (handed_on,))
    call.cancel()
