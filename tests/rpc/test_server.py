"""The gRPC server itself: health, reflection, addresses, stopping, what leaks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server.config import Grpc
from dockgate_server.errors import CannotListen
from dockgate_server.rpc.server import SERVICE, RpcServer


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_is_serving(channel: grpc.aio.Channel, service: str) -> None:
    """The standard health service answers for the server and for its service."""
    stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]

    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_service(channel: grpc.aio.Channel) -> None:
    """Tools such as grpcurl find the schema."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    call = stub.ServerReflectionInfo(iter([request]))
    answer = await call.read()
    call.cancel()

    assert SERVICE in [one.name for one in answer.list_services_response.service]


async def test_a_port_in_use_is_refused_by_name(server: RpcServer, core: Core) -> None:
    """Two servers on one port would each get half of the calls."""
    with pytest.raises(CannotListen, match=server.address):
        async with RpcServer(Grpc(listen=server.address), core.commands, stop_seconds=1):
            pass


async def test_stopping_does_not_wait_for_open_watches(core: Core) -> None:
    """The hub ends them first; otherwise each stop would take the whole grace."""
    server = RpcServer(Grpc(listen="127.0.0.1:0"), core.commands, stop_seconds=30)
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CommandServiceStub(channel)
        submitted = await stub.SubmitCommand(recording_start("k1"))
        request = pb.WatchCommandRequest(command_id=submitted.command.command_id)
        watches = [stub.WatchCommand(request) for _ in range(20)]
        await asyncio.gather(*(watch.read() for watch in watches))
        core.hub.close()
        began = time.monotonic()

    assert time.monotonic() - began < 5


async def test_the_watches_of_a_client_that_has_vanished_are_ended(core: Core) -> None:
    """A peer that is gone without a word (cable, crash, sleep) must not be kept for ever."""
    settings = Grpc(listen="127.0.0.1:0", keepalive_seconds=5, keepalive_timeout_seconds=1)
    async with (
        RpcServer(settings, core.commands, stop_seconds=1) as server,
        freezable(server.address) as (address, freeze),
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub: Any = CommandServiceStub(channel)
        submitted = await stub.SubmitCommand(recording_start("k1", timeout_seconds=300))
        command_id = submitted.command.command_id
        ended = asyncio.Event()
        watching = core.hub.watch_command

        @contextlib.contextmanager
        def observed(watched: str) -> Any:
            try:
                with watching(watched) as watcher:
                    yield watcher
            finally:
                ended.set()

        core.hub.watch_command = observed  # type: ignore[method-assign]
        watch = stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id))
        await watch.read()

        freeze()

        async with asyncio.timeout(15):
            await ended.wait()
        core.hub.close()
        watch.cancel()


@contextlib.asynccontextmanager
async def freezable(address: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """A proxy before the server that can stop forwarding without closing anything."""
    frozen = asyncio.Event()
    held: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not frozen.is_set():
                writer.write(data)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection(*address.split(":"))
        held.extend((writer, to_server[1]))
        with contextlib.suppress(OSError):
            await asyncio.gather(forward(reader, to_server[1]), forward(to_server[0], writer))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as proxy:
        host, port = proxy.sockets[0].getsockname()
        yield f"{host}:{port}", frozen.set
        for writer in held:
            writer.close()


async def test_a_bug_does_not_leak_its_text(
    stub: Any, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets the id under which the log has it."""

    async def broken(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(core.commands, "submit", broken)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SubmitCommand(recording_start("k1"))

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret detail" not in (caught.value.details() or "")
    assert "request_id" in (caught.value.details() or "")


async def test_a_caller_that_gives_up_does_not_take_its_command_back(stub: Any, core: Core) -> None:
    """Cancelling reaches the handler at its next await, which may be between commit and send."""
    call = stub.SubmitCommand(recording_start("k1"))
    held = core.store.accept
    started = asyncio.Event()

    def accept(new: Any) -> Any:
        started.set()
        return held(new)

    core.store.accept = accept  # type: ignore[method-assign]
    task = asyncio.ensure_future(_ignore(call))
    await started.wait()
    call.cancel()
    await task

    assert len(await core.bridge.wait_published(1)) == 1
    assert await core.stored() == 1


async def _ignore(call: Any) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await call
