"""Workers: processes that speak gRPC in front of the gateway's own."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from support import health as healths
from support import raw_grpc
from support.certificates import Authority
from support.core import Core
from support.gateway import recording_start
from support.health import SERVING
from support.secured import bearer, secured

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server.config import Grpc
from dockgate_server.errors import CannotListen
from dockgate_server.rpc.health import SERVICE, Health
from dockgate_server.rpc.server import RpcServer
from dockgate_server.rpc.workers import pool
from dockgate_server.rpc.workers.pool import WorkerEnded, Workers

CODE = grpc.StatusCode
MANY = 40


@asynccontextmanager
async def serving(core: Core, workers: int = 1, **settings: Any) -> AsyncIterator[RpcServer]:
    """The services behind workers."""
    listen = Grpc(**{"listen": "127.0.0.1:0", "workers": workers, **settings})
    async with RpcServer(listen, core.commands, Health(), stop_seconds=5) as server:
        yield server
        core.hub.close()


@pytest.fixture
async def server(core: Core) -> AsyncIterator[RpcServer]:
    """One worker."""
    async with serving(core) as server:
        yield server


def pids(server: RpcServer) -> list[int]:
    """The processes of the workers."""
    assert isinstance(server._server, Workers)
    return [one._process.pid for one in server._server._workers if one._process is not None]


def handing_on(server: RpcServer) -> set[object]:
    """The workers that hand calls on from now on."""
    seen: set[object] = set()
    assert isinstance(server._server, Workers)
    for worker in server._server._workers:
        opened = worker._opened

        def noting(one: Any, frame: Any, opened: Any = opened) -> Any:
            seen.add(one)
            return opened(one, frame)

        worker._opened = noting
    return seen


async def kinds(updates: Any, count: int) -> list[int]:
    """What so many events of a watch are; heartbeats do not count."""
    found: list[int] = []
    async with asyncio.timeout(10):
        async for update in updates:
            if update.HasField("event"):
                found.append(update.event.kind)
                if len(found) == count:
                    break
    return found


async def test_a_command_is_submitted_and_followed_to_its_end(core: Core, stub: Any) -> None:
    """As over the gateway's own gRPC: the answer, the stream and its end."""
    core.bridge.acknowledge_at_once = True
    accepted = (await stub.SubmitCommand(recording_start("k1"))).command
    watching = stub.WatchCommand(pb.WatchCommandRequest(command_id=accepted.command_id))
    first = await kinds(watching, 2)
    await core.reply(accepted.command_id, {"result": 0})
    rest = [update.event.kind async for update in watching if update.HasField("event")]
    assert [*first, *rest] == [1, 2, 3, 4]
    assert await watching.code() is CODE.OK
    again = await stub.SubmitCommand(recording_start("k1"))
    assert again.replayed
    assert again.command.command_id == accepted.command_id


async def test_an_error_comes_with_all_that_belongs_to_it(stub: Any) -> None:
    """Code, words, details, and the id of the call, which the client may have chosen."""
    request = pb.SubmitCommandRequest(device_id="drone-001")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SubmitCommand(request, metadata=(("x-request-id", "my-call"),))
    error = caught.value
    status = rpc_status.from_call(error)
    assert status is not None
    assert error.code() is CODE.INVALID_ARGUMENT
    assert status.message == error.details()
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "VALIDATION_FAILED"
    trailing = error.trailing_metadata()
    assert trailing is not None
    assert dict(trailing)["x-request-id"] == "my-call"


async def test_a_client_that_leaves_gives_back_what_its_watch_held(core: Core, stub: Any) -> None:
    """The gateway hears of it from the worker."""
    watching = stub.WatchCommands(pb.WatchCommandsRequest())
    await watching.read()
    assert len(core.hub._fleet) == 1
    watching.cancel()
    async with asyncio.timeout(10):
        while core.hub._fleet:  # noqa: ASYNC110 - the hub tells nobody
            await asyncio.sleep(0.005)


async def test_health_and_reflection_are_served(channel: grpc.aio.Channel) -> None:
    """A stream whose end the client decides on, and one with streams both ways."""
    assert await healths.status(channel, SERVICE) == SERVING
    watching = healths.watch(channel, SERVICE)
    assert await healths.next_of(watching) == SERVING
    watching.cancel()
    reflecting = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()  # type: ignore[no-untyped-call]
    for _ in range(2):
        await reflecting.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await reflecting.read()
        assert SERVICE in [one.name for one in answer.list_services_response.service]
    await reflecting.done_writing()
    assert await reflecting.read() is grpc.aio.EOF  # type: ignore[attr-defined]


async def test_what_nobody_serves_is_refused_in_our_words(
    server: RpcServer, channel: grpc.aio.Channel, stub: Any
) -> None:
    """Also a path that is no text, which gRPC would die of."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/dockgate/Nothing")(b"")
    assert caught.value.code() is CODE.UNIMPLEMENTED
    assert caught.value.details() == "there is no rpc '/dockgate/Nothing'"
    assert b"12" in await raw_grpc.ask(server.address, b"/\xff")
    assert (await stub.ListCommands(pb.ListCommandsRequest())).next_page_token == ""


async def test_a_message_that_cannot_be_read_is_refused(channel: grpc.aio.Channel) -> None:
    """And so is a call without any."""
    path = f"/{SERVICE}/GetCommand"
    for ask in (
        channel.unary_unary(path)(b"\xff\xff"),
        channel.stream_unary(path)(iter(())),  # type: ignore[arg-type]  # an iterator of none
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask
        assert caught.value.code() is CODE.INVALID_ARGUMENT


async def test_certificates_and_keys_are_looked_at_by_the_gateway(tmp_path: Path) -> None:
    """TLS ends in the worker, which hands on what the certificate says and knows no keys."""
    async with secured(tmp_path, mutual=True, workers=1) as tls:
        key = await tls.keys.create("by key", tenant="acme")
        await tls.keys.create("by name", tenant="acme", client_certificate="service.example")
        ours, other = tls.authority.issue("service.example"), tls.authority.issue("other.example")
        async with tls.stub(certificate=ours) as stub:
            await stub.ListCommands(pb.ListCommandsRequest())
        async with tls.stub(key, certificate=other) as stub:
            await stub.ListCommands(pb.ListCommandsRequest())
        async with tls.stub(f"{bearer(key)}x", certificate=other) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ListCommands(pb.ListCommandsRequest())
        assert caught.value.code() is CODE.UNAUTHENTICATED
        assert [one.tenant for one in tls.taken] == ["acme", "acme"]
        assert all(one.origin.peer.startswith("127.0.0.1:") for one in tls.taken)


async def test_connections_are_shared_out_among_workers(core: Core) -> None:
    """By the system: each connection is one worker's; commands are everybody's."""
    async with serving(core, workers=2) as server:
        assert len(set(pids(server))) == 2
        asked = handing_on(server)
        for number in range(MANY):
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(server.address, options) as channel:
                stub = CommandServiceStub(channel)
                await stub.SubmitCommand(recording_start(f"k{number}"))
        assert len(asked) == 2
        assert await core.stored() == MANY


async def test_nobody_else_gets_the_port(core: Core, server: RpcServer) -> None:
    """Neither a gateway with workers of its own, which would share it, nor one without."""
    for workers in (0, 1):
        with pytest.raises(CannotListen, match=r"cannot listen for gRPC on .*grpc\.listen.*in use"):
            async with serving(core, workers=workers, listen=server.address):
                pass


async def test_a_worker_that_cannot_listen_says_why(core: Core, tmp_path: Path) -> None:
    """In the words of the gateway's own gRPC, and none is left over."""
    authority = Authority(tmp_path / "tls")
    certificate, key = authority.issue("server", "127.0.0.1")
    files = {"tls_certificate": certificate, "tls_key": key}
    server = RpcServer(
        Grpc(listen="127.0.0.1:0", workers=2, **files),
        core.commands,
        Health(),
        stop_seconds=5,
        keys=object(),  # type: ignore[arg-type]  # nobody gets so far
    )
    shutil.copy(authority.issue("another")[1], key)
    with pytest.raises(CannotListen, match="does not belong to the certificate"):
        await server.__aenter__()
    for pid in pids(server):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_worker_that_ends_is_noticed(server: RpcServer, stub: Any) -> None:
    """Its calls end, and whoever watches over the server hears of it."""
    watching = stub.WatchCommands(pb.WatchCommandsRequest())
    await watching.read()
    running = asyncio.create_task(server.run())
    pid = pids(server)[0]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerEnded, match=f"a gRPC worker, pid {pid}, was ended by SIGKILL"):
        async with asyncio.timeout(10):
            await running
    with pytest.raises(grpc.aio.AioRpcError):
        await watching.read()


@pytest.mark.parametrize(
    ("code", "how"),
    [(-15, "was ended by SIGTERM"), (-1000, "by signal 1000"), (3, "code 3"), (None, "has closed")],
)
async def test_it_is_told_how_a_worker_has_ended(code: int | None, how: str) -> None:
    """By a signal, by itself, or not at all yet."""

    class Process:
        pid = 4711

        def wait(self, timeout: float) -> int:
            if code is None:
                raise subprocess.TimeoutExpired("worker", timeout)
            return code

    worker = pool._Worker(lambda *_: pytest.fail("it serves nobody"))
    worker._process = Process()  # type: ignore[assignment]
    told = await worker.ending()
    assert told.startswith("a gRPC worker, pid 4711, ")
    assert how in told


async def test_a_worker_that_hangs_is_noticed(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there and answers nobody; one that answers is left alone."""
    monkeypatch.setattr(pool, "_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(pool, "_EXIT_SECONDS", 0.1)
    async with serving(core) as server:
        server._stop_seconds = 0
        running = asyncio.create_task(server.run())
        done, _ = await asyncio.wait((running,), timeout=0.3)
        assert not done
        os.kill(pids(server)[0], signal.SIGSTOP)
        with pytest.raises(WorkerEnded, match=f"pid {pids(server)[0]}, is silent"):
            async with asyncio.timeout(10):
                await running


async def test_a_worker_minds_no_signal_that_is_meant_for_the_gateway(
    server: RpcServer, stub: Any
) -> None:
    """Ctrl-C comes to both; the calls of the gateway's last seconds are still answered."""
    for one in (signal.SIGINT, signal.SIGTERM):
        os.kill(pids(server)[0], one)
    for _ in range(3):
        await stub.ListCommands(pb.ListCommandsRequest())


async def test_a_worker_minds_no_signal_while_it_is_only_beginning(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no handlers yet."""
    start = subprocess.Popen

    def started(*arguments: Any, **options: Any) -> Any:
        process = start(*arguments, **options)
        for one in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(one)
        return process

    monkeypatch.setattr(subprocess, "Popen", started)
    async with serving(core) as server, grpc.aio.insecure_channel(server.address) as channel:
        assert await healths.status(channel, SERVICE) == SERVING


async def test_a_stop_ends_the_workers(core: Core) -> None:
    """Watches have been ended before; nothing is left, and watching over them goes on."""
    async with serving(core) as server:
        running = asyncio.create_task(server.run())
        (pid,) = pids(server)
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub: Any = CommandServiceStub(channel)
            watching = stub.WatchCommands(pb.WatchCommandsRequest())
            await watching.read()
            core.hub.close()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watching.read()
            assert caught.value.code() is CODE.UNAVAILABLE
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not running.done()
    running.cancel()


async def test_a_worker_knows_no_secrets_and_no_modules_of_where_the_gateway_was_started(
    core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway's variables stay its own, and a file in the folder is not run where TLS ends."""
    monkeypatch.setenv("DOCKGATE_MQTT__PASSWORD", "secret")
    (tmp_path / "structlog.py").write_text("raise SystemExit('not the real one')\n")
    monkeypatch.chdir(tmp_path)
    async with serving(core) as server:
        environment = await asyncio.to_thread(Path(f"/proc/{pids(server)[0]}/environ").read_bytes)
        assert b"DOCKGATE_" not in environment
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert await healths.status(channel, SERVICE) == SERVING


async def test_over_tls_nothing_is_read_before_it_is_known_who_asks(tmp_path: Path) -> None:
    """Who says nothing but who it is not is refused at once; nobody waits for the request."""
    async with secured(tmp_path, workers=1) as tls:
        credentials = grpc.ssl_channel_credentials(tls.authority.certificate.read_bytes())
        async with grpc.aio.secure_channel(tls.server.address, credentials) as channel:
            silent = channel.stream_stream(f"/{SERVICE}/WatchCommand")()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async with asyncio.timeout(10):
                    await silent.read()
        assert caught.value.code() is CODE.UNAUTHENTICATED
