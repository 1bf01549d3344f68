"""Calls that are asked for ahead: that each is answered, their limit, and the end."""

import asyncio
import gc
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio

from dockgate_server.rpc import accepting
from dockgate_server.rpc.accepting import AHEAD

BUSY_SECONDS = 0.05
SECONDS = 5
LONG = 60


class Service(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it takes none at run time
    """Answers with what it was asked, when it may; its first call keeps the event loop busy."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.on_first: Callable[[], object] = lambda: None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """The only method."""
        return grpc.unary_unary_rpc_method_handler(self._call)

    async def _call(self, request: bytes, context: Any) -> bytes:
        if not self.begun:
            time.sleep(BUSY_SECONDS)  # noqa: ASYNC251 - meanwhile others come
            self.on_first()
        self.begun.append(request)
        await self.may_answer.wait()
        return request


@asynccontextmanager
async def serving(service: Service, most_calls: int = 1000) -> AsyncIterator[tuple[Any, str]]:
    """The server, and its address."""
    server = accepting.server([("grpc.so_reuseport", 0)], most_calls)
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield server, f"127.0.0.1:{port}"
    await server.stop(0)


@asynccontextmanager
async def calling(address: str, count: int) -> AsyncIterator[Sequence["asyncio.Future[Any]"]]:
    """So many calls at once, and what becomes of each: its answer, or how it was refused."""

    async def outcome(number: int) -> Any:
        try:
            return await method(b"%d" % number)
        except aio.AioRpcError as refused:
            return refused.code()

    options = [("grpc.use_local_subchannel_pool", 1)]
    async with aio.insecure_channel(address, options=options) as channel, asyncio.timeout(SECONDS):
        await channel.channel_ready()
        method: Any = channel.unary_unary("/test.Service/Method")
        yield [asyncio.ensure_future(outcome(number)) for number in range(count)]


async def test_calls_are_asked_for_ahead(caplog: pytest.LogCaptureFixture) -> None:
    """If gRPC called that otherwise, nobody would notice but by the time that it takes."""
    async with serving(Service()) as (server, _):
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(server._server._asked) == AHEAD
    assert not server._server._asked
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_every_call_is_answered_once() -> None:
    """However many more there are than are asked for ahead."""
    service = Service()
    async with serving(service) as (_, address), calling(address, 5 * AHEAD) as calls:
        answers = await asyncio.gather(*calls)
    assert answers == [b"%d" % number for number in range(5 * AHEAD)]
    assert sorted(service.begun) == sorted(answers)


async def test_calls_that_are_open_are_limited() -> None:
    """Those that are ahead count when they begin."""
    service = Service()
    service.may_answer.clear()
    async with serving(service, 3) as (_, address), calling(address, AHEAD) as calls:
        for refused in itertools.islice(asyncio.as_completed(calls), AHEAD - 3):
            assert await refused is grpc.StatusCode.RESOURCE_EXHAUSTED
        service.may_answer.set()
        answers = await asyncio.gather(*calls)
    assert len(service.begun) == 3
    assert set(service.begun) < set(answers)


async def test_calls_that_have_come_are_answered_before_a_stop() -> None:
    """They were there in time, though the loop had no turn for them."""
    service = Service()
    stops: list[asyncio.Future[None]] = []
    async with serving(service) as (server, address), calling(address, AHEAD // 2) as calls:
        service.on_first = lambda: stops.append(asyncio.ensure_future(server.stop(LONG)))
        answers = await asyncio.gather(*calls)
        await stops[0]
    assert answers == [b"%d" % number for number in range(AHEAD // 2)]


@pytest.mark.parametrize("turns", [0, accepting._TURNS])
async def test_calls_that_come_too_late_do_not_hold_up_a_stop(
    monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """They are told so, and do not wait with it for those that are being answered."""
    monkeypatch.setattr(accepting, "_TURNS", turns)
    service = Service()
    stops: list[asyncio.Future[None]] = []
    async with serving(service) as (server, address), calling(address, 10 * AHEAD) as calls:
        service.on_first = lambda: stops.append(asyncio.ensure_future(server.stop(LONG)))
        answers = await asyncio.gather(*calls)
        await stops[0]
    told = [one for one in answers if one not in service.begun]
    assert set(told) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert len(answers) - len(told) == len(service.begun)
