"""`dockgate serve --workers`: processes in front of a process, and what becomes of them."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from support import server_process
from support.brokers import RunningBroker
from support.gateway import quick_dock, recording_start

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import simulate

pytestmark = pytest.mark.broker


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


async def until_closed(address: str) -> None:
    """Wait until nobody listens there any more."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_a_command_lives_its_whole_life_behind_workers(
    broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted and watched through them; a polite end leaves nothing behind and says nothing."""
    monkeypatch.setenv("DOCKGATE_MQTT__SEND_WITHOUT_EXPIRY", "true")
    database = tmp_path / "dockgate.db"
    dock = simulate.SimulatedDock(quick_dock(broker))
    async with (
        server_process.serving(broker.url, database, "--workers", "2") as server,
        dock as simulated,
    ):
        await simulated.wait_ready()
        workers = children(server.process.pid)
        assert len(workers) == 2
        for pid in (server.process.pid, *workers):
            assert "uvloop" in Path(f"/proc/{pid}/maps").read_text()  # noqa: ASYNC240
        accepted = await server.stub.SubmitCommand(recording_start("k1", device_id="dock-001"))
        watched = pb.WatchCommandRequest(command_id=accepted.command.command_id)
        updates = [update async for update in server.stub.WatchCommand(watched, timeout=30)]
        last = updates[-1].event.command
        assert last.status == command_pb2.COMMAND_STATUS_SUCCEEDED
    assert server.process.returncode == 0
    assert "error" not in {entry["level"] for entry in server.log}
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_gateway_that_is_killed_takes_its_workers_with_it(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """Else they would hold the port, and take calls that nobody answers."""
    database = tmp_path / "dockgate.db"
    async with server_process.serving(broker.url, database, "--workers", "1") as server:
        watching = server.stub.WatchCommands(pb.WatchCommandsRequest())
        await watching.read()
        server.process.kill()
        # As if the gateway itself had broken the connection: clients come again by themselves.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await server.process.wait()
        await until_closed(server.address)


async def test_a_worker_that_is_killed_ends_the_gateway(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """In one line, and with an exit code that lets a service manager start it again."""
    database = tmp_path / "dockgate.db"
    async with server_process.serving(broker.url, database, "--workers", "1") as server:
        (pid,) = children(server.process.pid)
        os.kill(pid, 9)
        async with asyncio.timeout(20):
            assert await server.process.wait() == 1
        with pytest.raises(grpc.aio.AioRpcError):
            await server.stub.ListCommands(pb.ListCommandsRequest())
