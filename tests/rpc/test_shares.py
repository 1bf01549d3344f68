"""Those who need not say who they are cannot take all calls, nor the memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from support import raw_grpc
from support.clock import ManualClock
from support.core import Core
from support.log import Log

from dockgate_server.clock import Clock
from dockgate_server.config import Grpc
from dockgate_server.lines import SECONDS
from dockgate_server.rpc import server as servers
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer

CHECK = b"/grpc.health.v1.Health/Check"
LIST = b"/dockgate.downlink.v1.CommandService/ListCommands"
REFLECTION = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SCHEMA = reflection_pb2.ServerReflectionRequest(
    file_containing_symbol="dockgate.downlink.v1.CommandService"
).SerializeToString()
OK, EXHAUSTED = b"grpc-status\x010", b"grpc-status\x018"

MINE = (("x-request-id", "mine"),)

workers = pytest.mark.parametrize("workers", [0, 1])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares that are taken soon."""
    monkeypatch.setattr(servers, "MOST_CALLS", 4)
    monkeypatch.setattr(servers, "MOST_REFLECTING", 2)


@asynccontextmanager
async def serving(
    core: Core, workers: int, clock: Clock | None = None, **limits: int
) -> AsyncIterator[RpcServer]:
    """A server with or without workers."""
    settings = Grpc(listen="127.0.0.1:0", workers=workers, **limits)
    async with RpcServer(settings, core.commands, Health(), stop_seconds=1, clock=clock) as server:
        yield server
        core.hub.close()


async def served_again(server: RpcServer, path: bytes, message: bytes = b"") -> bytes:
    """The answer to a call when there is room for it; the server hears by and by who has gone."""
    async with asyncio.timeout(10):
        while True:
            async with raw_grpc.connected(server.address) as connection:
                answered = await connection.ended(connection.call(path, message=message))
                if EXHAUSTED not in answered:
                    return answered


@workers
async def test_calls_that_never_say_what_they_want_shut_out_nobody_who_is_known(
    core: Core, workers: int, log: Log
) -> None:
    """Only their own service refuses more, with a reason of ours; until they have gone."""
    async with serving(core, workers) as server:
        async with raw_grpc.connected(server.address) as silent:
            for _ in range(20):
                silent.call(CHECK, message=None)
            # When it is answered the others have begun.
            assert OK in await silent.ended(silent.call(LIST))
            async with grpc.aio.insecure_channel(server.address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(CHECK.decode())(b"", metadata=MINE)
        assert reason(caught.value) == ("RATE_LIMITED", "grpc.max_calls")
        assert dict(caught.value.trailing_metadata())["x-request-id"] == "mine"
        assert OK in await served_again(server, CHECK)
    if not workers:
        limits = [line["limit"] for line in log if line["event"] == "limit_reached"]
        assert limits == ["grpc.max_calls"]


async def test_a_line_a_second_says_who_is_refused_and_how_often(core: Core, log: Log) -> None:
    """In the words of every other limit."""
    clock = ManualClock()
    async with serving(core, 0, clock) as server, raw_grpc.connected(server.address) as silent:
        for _ in range(4):
            silent.call(CHECK, message=None)
        assert OK in await silent.ended(silent.call(LIST))
        for seconds in (0, 0, 0, SECONDS):
            clock.advance(seconds)
            assert EXHAUSTED in await raw_grpc.ask(server.address, CHECK)
    lines = [line for line in log if line["event"] == "limit_reached"]
    assert [(line["limit"], line["who"], line["refused"]) for line in lines] == [
        ("grpc.max_calls", "127.0.0.1", 1),
        ("grpc.max_calls", "127.0.0.1", 3),
    ]


@workers
async def test_who_does_not_read_an_answer_holds_a_place_until_he_has_gone(
    core: Core, workers: int
) -> None:
    """However small it is, and though it has been given long ago."""
    async with serving(core, workers) as server:
        async with raw_grpc.connected(server.address, reads=False) as deaf:
            for _ in range(4):
                await deaf.begun(deaf.call(CHECK))
            assert EXHAUSTED in await raw_grpc.ask(server.address, CHECK)
            assert OK in await raw_grpc.ask(server.address, LIST)
        assert OK in await served_again(server, CHECK)


@workers
async def test_few_can_have_large_answers_of_reflection_held(core: Core, workers: int) -> None:
    """Each is some hundred KiB for a question of forty bytes."""
    async with serving(core, workers) as server:
        async with raw_grpc.connected(server.address, reads=False) as deaf:
            for _ in range(2):
                await deaf.begun(deaf.call(REFLECTION, message=SCHEMA))
            async with raw_grpc.connected(server.address) as another:
                call = another.call(REFLECTION, message=SCHEMA)
                assert EXHAUSTED in await another.ended(call)
            assert OK in await raw_grpc.ask(server.address, CHECK)
        listed = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        assert b"CommandService" in await served_again(server, REFLECTION, listed)


def reason(error: grpc.aio.AioRpcError) -> tuple[str, str]:
    """The reason of a refusal, and the limit that it names."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason, info.metadata["limit"]


@workers
async def test_calls_one_after_another_leave_no_place_taken(core: Core, workers: int) -> None:
    """Answered, refused, or cancelled: each gives its place back."""
    async with serving(core, workers) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            for number in range(20):
                asked = health_pb2.HealthCheckRequest(service="" if number % 2 else "unknown")
                with suppress(grpc.aio.AioRpcError):
                    await channel.unary_unary(CHECK.decode())(asked.SerializeToString())
        assert OK in await served_again(server, CHECK)


@workers
async def test_half_of_all_calls_is_for_who_is_known(
    core: Core, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there may be few."""
    monkeypatch.setattr(servers, "MOST_CALLS", 100)
    async with (
        serving(core, workers, max_calls=6) as server,
        raw_grpc.connected(server.address) as silent,
    ):
        for _ in range(3):
            silent.call(CHECK, message=None)
        assert OK in await silent.ended(silent.call(LIST))
        async with raw_grpc.connected(server.address) as another:
            refused = await another.ended(another.call(CHECK))
        assert EXHAUSTED in refused
        assert b"3 calls of this service are open" in refused
