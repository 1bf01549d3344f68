"""What one credential, and one connection, may take of the gRPC server."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.clock import ManualClock
from support.core import Core
from support.gateway import recording_start
from support.secured import secured

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server.config import Grpc
from dockgate_server.config.limits import LimitsSection
from dockgate_server.limits import Limits
from dockgate_server.model.caller import Caller
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer

CODE = grpc.StatusCode


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """What a call or a watch is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    return caught.value


def limit_of(refusal: grpc.aio.AioRpcError) -> tuple[str, float]:
    """The limit that was reached, and after how many seconds to try again."""
    assert refusal.code() is CODE.RESOURCE_EXHAUSTED
    status: Any = rpc_status.from_call(refusal)  # type: ignore[arg-type]
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(retry)
    assert info.reason == "RATE_LIMITED"
    assert info.metadata["retry_after_seconds"] == str(retry.retry_delay.seconds)
    return info.metadata["limit"], retry.retry_delay.ToTimedelta().total_seconds()


async def test_a_call_too_many_is_told_when_to_try_again(tmp_path: Path) -> None:
    """Unary calls and watches alike; another credential is not touched."""
    clock = ManualClock()
    limits = Limits(LimitsSection(requests_per_second=0.5, requests_at_once=2), clock)
    async with secured(tmp_path, limits=limits, take=limits.rate.take) as server:
        one, other = await server.keys.create("one"), await server.keys.create("other")
        async with server.stub(one) as stub, server.stub(other) as another:
            watch = stub.WatchCommands(pb.WatchCommandsRequest())
            await watch.read()
            await stub.ListCommands(pb.ListCommandsRequest())
            calls = (
                stub.ListCommands(pb.ListCommandsRequest()),
                stub.WatchCommands(pb.WatchCommandsRequest()),
            )
            for call in calls:
                assert limit_of(await refused(call)) == ("limits.requests_per_second", 2)
            await another.ListCommands(pb.ListCommandsRequest())
            clock.advance(2)
            await stub.ListCommands(pb.ListCommandsRequest())
            watch.cancel()


async def test_an_emergency_goes_through_when_too_many_calls_were_made(tmp_path: Path) -> None:
    """Nothing else does; of emergencies there may be as many again."""
    limits = Limits(LimitsSection(requests_per_second=0.01, requests_at_once=2), ManualClock())
    async with (
        secured(tmp_path, limits=limits, take=limits.rate.take) as server,
        server.stub(await server.keys.create("one")) as stub,
    ):
        for _ in range(2):
            await stub.ListCommands(pb.ListCommandsRequest())
        ordinary = stub.SubmitCommand(recording_start("k1"))
        assert limit_of(await refused(ordinary))[0] == "limits.requests_per_second"
        home = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="k2")
        home.dji.return_home.SetInParent()
        assert not (await stub.SubmitCommand(home)).replayed
        assert (await stub.SubmitCommand(home)).replayed
        for call in (stub.SubmitCommand(home), stub.ListCommands(pb.ListCommandsRequest())):
            assert limit_of(await refused(call))[0] == "limits.requests_per_second"


async def test_watches_are_counted_until_their_client_has_gone(tmp_path: Path) -> None:
    """Of both kinds together; who goes makes room, also before anything was sent."""
    limits = Limits(LimitsSection(watches_per_credential=3), ManualClock())
    is_none_open = noticing(limits)
    async with (
        secured(tmp_path, limits=limits) as server,
        server.stub(await server.keys.create("one")) as stub,
    ):
        command = (await stub.SubmitCommand(recording_start("k1"))).command
        one = pb.WatchCommandRequest(command_id=command.command_id)
        every = pb.WatchCommandsRequest()
        watches = [stub.WatchCommand(one), stub.WatchCommands(every), stub.WatchCommand(one)]
        for watch in watches:
            await watch.read()
        for call in (stub.WatchCommand(one), stub.WatchCommands(every)):
            assert limit_of(await refused(call)) == ("limits.watches_per_credential", 1)
        for watch in watches:
            watch.cancel()
        await is_none_open.wait()
        watch = stub.WatchCommands(every)
        await watch.read()
        watch.cancel()


async def test_clients_that_vanish_at_any_moment_leave_no_watch_behind(tmp_path: Path) -> None:
    """Cancelled before, while and after the server has begun; whole connections too."""
    limits = Limits(LimitsSection(watches_per_credential=1000), ManualClock())
    rng = random.Random(1)
    is_none_open = noticing(limits)
    async with secured(tmp_path, limits=limits) as server:
        key = await server.keys.create("one")
        for _ in range(4):
            async with server.stub(key) as stub:
                command = (await stub.SubmitCommand(recording_start(str(rng.random())))).command
                one = pb.WatchCommandRequest(command_id=command.command_id)
                watches: list[Any] = []
                for _ in range(25):
                    watches.append(stub.WatchCommand(one))
                    watches.append(stub.WatchCommands(pb.WatchCommandsRequest()))
                    for _ in range(rng.randrange(4)):
                        await asyncio.sleep(0)
                    if rng.random() < 0.5:
                        rng.choice(watches).cancel()
                with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                    await watches[-1].read()
        async with asyncio.timeout(10):
            await is_none_open.wait()
        assert limits.watches._of_credential == {}


def noticing(limits: Limits) -> asyncio.Event:
    """Is set whenever no watch is open; the server hears of the end of a client by and by."""
    is_none_open = asyncio.Event()
    one_more = limits.watches.one_more

    @contextmanager
    def noted(caller: Caller) -> Iterator[None]:
        is_none_open.clear()
        try:
            with one_more(caller):
                yield
        finally:
            if not limits.watches._of_credential:
                is_none_open.set()

    limits.watches.one_more = noted  # type: ignore[method-assign]
    return is_none_open


@asynccontextmanager
async def serving(core: Core, **settings: Any) -> AsyncIterator[Any]:
    """Makes clients of a server with these settings, each with a connection of its own."""
    grpc_settings = Grpc(listen="127.0.0.1:0", **settings)
    server = RpcServer(grpc_settings, core.commands, Health(), stop_seconds=1)
    # Otherwise channels to one address share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(server)

        channels: list[grpc.aio.Channel] = []

        async def client() -> Any:
            channel = grpc.aio.insecure_channel(server.address, options)
            channels.append(await opened.enter_async_context(channel))
            return CommandServiceStub(channels[-1])

        client.address, client.channels = server.address, channels  # type: ignore[attr-defined]
        yield client
        core.hub.close()


async def test_the_connection_after_the_last_is_closed(core: Core) -> None:
    """Those that are there go on."""
    async with serving(core, max_connections=2) as client:
        kept = [await client() for _ in range(2)]
        for stub in kept:
            await stub.ListCommands(pb.ListCommandsRequest())
        refusal = await refused((await client()).ListCommands(pb.ListCommandsRequest()))
        assert refusal.code() is CODE.UNAVAILABLE
        for stub in kept:
            await stub.ListCommands(pb.ListCommandsRequest())


async def test_metadata_has_a_limit(core: Core) -> None:
    """Refused always, not by chance; and the connection goes on."""
    async with serving(core, max_metadata_bytes=4096) as client:
        stub = await client()
        large = (("x-large", "x" * 4096),)
        for _ in range(5):
            refusal = await refused(stub.ListCommands(pb.ListCommandsRequest(), metadata=large))
            assert refusal.code() is CODE.RESOURCE_EXHAUSTED
        small = (("x-small", "x" * 3000),)
        await stub.ListCommands(pb.ListCommandsRequest(), metadata=small)


async def test_calls_are_limited_in_all(core: Core) -> None:
    """Whoever makes them: of one that never says what it wants nobody knows the caller."""
    async with serving(core, max_calls=2) as client:
        stub, other = await client(), await client()
        watches = [one.WatchCommands(pb.WatchCommandsRequest()) for one in (stub, other)]
        for watch in watches:
            await watch.read()
        refusal = await refused(other.ListCommands(pb.ListCommandsRequest()))
        assert refusal.code() is CODE.RESOURCE_EXHAUSTED
        watches.pop().cancel()
        watches.pop().cancel()


async def test_the_call_after_the_last_of_a_connection_waits_for_its_turn(core: Core) -> None:
    """The client holds it back; another connection is not touched."""
    async with serving(core, max_streams_per_connection=2) as client:
        stub, other = await client(), await client()
        await stub.ListCommands(pb.ListCommandsRequest())
        watches = [stub.WatchCommands(pb.WatchCommandsRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        waiting = asyncio.ensure_future(_list(stub))
        await other.ListCommands(pb.ListCommandsRequest())
        assert not waiting.done()
        watches.pop().cancel()
        await waiting
        watches.pop().cancel()


async def _list(stub: Any) -> None:
    await stub.ListCommands(pb.ListCommandsRequest(), timeout=10)


@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n"])
async def test_a_connection_that_does_not_come_to_the_point_is_closed(
    core: Core, said: bytes
) -> None:
    """A place is not held by who says nothing, or half a greeting."""
    async with serving(core, handshake_seconds=0.1) as client, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*client.address.split(":"))
        writer.write(said)
        with suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()


async def test_a_connection_without_calls_is_closed_and_opened_again(core: Core) -> None:
    """Its client notices nothing."""
    async with serving(core, idle_seconds=1) as client:
        stub = await client()
        await _list(stub)
        channel = client.channels[0]
        async with asyncio.timeout(10):
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        assert channel.get_state() is grpc.ChannelConnectivity.IDLE
        await _list(stub)
