"""The gRPC server itself: reflection, addresses, stopping, what leaks."""

import asyncio
import contextlib
import time
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support import proxy
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server.config import Grpc
from dockgate_server.errors import CannotListen
from dockgate_server.rpc.health import SERVICE, Health
from dockgate_server.rpc.server import RpcServer


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
        async with RpcServer(Grpc(listen=server.address), core.commands, Health(), stop_seconds=1):
            pass


async def test_stopping_does_not_wait_for_open_watches(core: Core) -> None:
    """The hub ends them first; otherwise each stop would take the whole grace."""
    settings = Grpc(listen="127.0.0.1:0")
    server = RpcServer(settings, core.commands, Health(), stop_seconds=30)
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
        RpcServer(settings, core.commands, Health(), stop_seconds=1) as server,
        proxy.before(server.address) as between,
        grpc.aio.insecure_channel(between.address) as channel,
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

        between.frozen = True

        async with asyncio.timeout(15):
            await ended.wait()
        core.hub.close()
        watch.cancel()


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
