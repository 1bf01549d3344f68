"""The health service: a few names, told at once, and no watch that holds up a stop."""

import asyncio
import time

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse, HealthListRequest
from support.core import Core
from support.health import NOT_SERVING, SERVING, client, next_of, status
from support.health import watch as watch_of

from dockgate_server.config import Grpc
from dockgate_server.rpc.health import DISPATCH, SERVICES, Health
from dockgate_server.rpc.server import RpcServer

NAMES = ("", *SERVICES, DISPATCH)


@pytest.mark.parametrize(
    ("connected", "writable", "dispatch"),
    [
        (True, True, SERVING),
        (False, True, NOT_SERVING),
        (True, False, NOT_SERVING),
        (False, False, NOT_SERVING),
    ],
)
async def test_dispatch_serves_only_while_commands_can_be_sent_and_recorded(
    channel: grpc.aio.Channel, health: Health, connected: bool, writable: bool, dispatch: int
) -> None:
    """The server and its services serve all the same: commands can be read and watched."""
    health.connection_changed(connected)
    health.store_changed(writable)

    assert [await status(channel, name) for name in NAMES] == [*[SERVING] * 4, dispatch]
    listed = (await client(channel).List(HealthListRequest())).statuses
    assert {name: one.status for name, one in listed.items()} == dict(
        zip(NAMES, (*[SERVING] * 4, dispatch), strict=True)
    )


async def test_dispatch_does_not_serve_before_the_first_connection(
    channel: grpc.aio.Channel,
) -> None:
    """Nobody has said yet that the broker can be reached."""
    assert await status(channel, DISPATCH) == NOT_SERVING


async def test_an_unknown_name_is_not_found(channel: grpc.aio.Channel) -> None:
    """A watch of it says so and stays, as the protocol wants it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await status(channel, "nonsense")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = watch_of(channel, "nonsense")
    assert await next_of(watch) == HealthCheckResponse.SERVICE_UNKNOWN
    assert not watch.done()
    watch.cancel()


async def test_a_watch_hears_of_each_change_and_of_nothing_else(
    channel: grpc.aio.Channel, health: Health
) -> None:
    """At once; what leaves the status as it is is no news."""
    watch = watch_of(channel, DISPATCH)
    assert await next_of(watch) == NOT_SERVING
    health.connection_changed(True)
    assert await next_of(watch) == SERVING
    health.store_changed(False)
    assert await next_of(watch) == NOT_SERVING
    health.connection_changed(False)
    health.store_changed(True)
    # Given the time to tell what it must not tell.
    assert await status(channel, DISPATCH) == NOT_SERVING
    health.connection_changed(True)
    assert await next_of(watch) == SERVING
    watch.cancel()


@pytest.mark.parametrize("name", NAMES)
async def test_at_the_stop_nothing_serves_and_watches_end(core: Core, name: str) -> None:
    """They are told first; one that stayed open would hold the stop up all the grace."""
    health = Health()
    health.connection_changed(True)
    server = RpcServer(Grpc(listen="127.0.0.1:0"), core.commands, health, stop_seconds=30)
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        watch = watch_of(channel, name)
        assert await next_of(watch) == SERVING
        reading = asyncio.ensure_future(next_of(watch))
        began = time.monotonic()
        await server.__aexit__(None, None, None)
        assert time.monotonic() - began < 5
        assert await reading == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        # The parts that stop behind it change nothing any more.
        health.connection_changed(True)
        assert health._statuses()[name] == NOT_SERVING


@pytest.mark.parametrize(("max_calls", "most"), [(12, 4), (3000, 1000), (25_000, 1000)])
async def test_watches_leave_a_third_of_what_the_service_has_to_those_who_ask_once(
    core: Core, max_calls: int, most: int
) -> None:
    """Everybody may open one without saying who they are; one that ends makes room."""
    settings = Grpc(listen="127.0.0.1:0", max_calls=max_calls)
    server = RpcServer(settings, core.commands, Health(), stop_seconds=5)
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        watches = [watch_of(channel, "") for _ in range(most)]
        for one in watches:
            assert await next_of(one) == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await next_of(watch_of(channel, ""))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await status(channel, "") == SERVING
        watches.pop().cancel()
        async with asyncio.timeout(10):
            while True:
                again = watch_of(channel, "")
                if await again.read() is not grpc.aio.EOF:
                    break
        for one in (*watches, again):
            one.cancel()
