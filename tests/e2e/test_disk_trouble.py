"""A disk that is full, a database that is locked or damaged: refused, not acknowledged and lost."""

import asyncio
import resource
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import grpc
import orjson
import pytest
from support import gateway, health, server_process
from support.brokers import RunningBroker
from support.disks import Disk, LimitedFiles, small_disk
from support.gateway import recording_start
from support.health import NOT_SERVING, SERVING
from support.server_process import ServerProcess

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import simulate
from dockgate_server.access import signature
from dockgate_server.access.keys import Keys, NewKey
from dockgate_server.clock import SystemClock
from dockgate_server.rpc.health import DISPATCH
from dockgate_server.store.sqlite import SqliteStore, opening

pytestmark = pytest.mark.broker

TARGET = "/api/v1/open/downlink/commands"


@pytest.fixture(params=["limited files", "small disk"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Full in two ways, of which the second needs rights that not everybody has."""
    if request.param == "small disk":
        with small_disk(tmp_path) as disk:
            yield disk
    elif hasattr(resource, "prlimit"):
        yield LimitedFiles(tmp_path)
    else:
        pytest.skip("no limit can be set on another process here")


@asynccontextmanager
async def replies(of: RunningBroker) -> AsyncIterator[AsyncIterator[aiomqtt.Message]]:
    """What docks reply, to know when they have."""
    five = aiomqtt.ProtocolVersion.V5
    async with aiomqtt.Client("127.0.0.1", of.port, protocol=five) as client:
        await client.subscribe("thing/product/+/services_reply", qos=1)
        yield aiter(client.messages)


def commands(dock: simulate.SimulatedDock) -> list[str | None]:
    """The commands that have reached the dock."""
    return [message.tid for message in dock.received if message.on == "services"]


async def a_key(database: Path) -> NewKey:
    """A key of the open API, made beside the server as `dockgate keys` makes it."""
    async with SqliteStore(database, exclusive=False) as store:
        return await Keys(store, Path(f"{database}.key"), SystemClock()).create("test")


async def post(server: ServerProcess, key: NewKey, body: dict[str, Any]) -> tuple[int, str]:
    """Submit over HTTP; the status, and the code of an error."""
    raw = orjson.dumps(body)
    headers = signature.signed_headers(
        api_id=key.key.api_id,
        secret=key.secret,
        method="POST",
        target=TARGET,
        timestamp=int(time.time()),
        nonce=uuid.uuid4().hex,
        body=raw,
    )
    url = f"http://{server.http_address}{TARGET}"
    headers["Content-Type"] = "application/json"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=raw, headers=headers) as answer,
    ):
        return answer.status, orjson.loads(await answer.read()).get("code", "")


def by_http(key: str) -> dict[str, Any]:
    """A valid submission for the open API."""
    return {
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": "camera_recording_start",
        "payload": {"payload_index": "39-0-7"},
        "idempotency_key": key,
    }


async def is_refused(stub: Any, key: str) -> None:
    """A submission is answered with UNAVAILABLE."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SubmitCommand(recording_start(key), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert str(caught.value.details()).startswith("the store cannot ")


async def status(stub: Any, command_id: str) -> str:
    """A command's status now."""
    got = await stub.GetCommand(pb.GetCommandRequest(command_id=command_id))
    return command_pb2.CommandStatus.Name(got.command.status).removeprefix("COMMAND_STATUS_")


async def end(stub: Any, command_id: str) -> str:
    """The status in which a command ends."""
    last = None
    async for update in stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id)):
        if update.HasField("event"):
            last = update.event.command.status
    return command_pb2.CommandStatus.Name(last).removeprefix("COMMAND_STATUS_")


async def test_a_full_disk_refuses_and_keeps_and_all_goes_on_when_there_is_room(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, disk: Disk
) -> None:
    """Submissions are refused, replies wait for the record, and reading goes on."""
    async with (
        server_process.serving(mosquitto.url, disk.database) as server,
        replies(mosquitto) as replied,
    ):
        key = await a_key(disk.database)
        await dock.wait_ready()
        before = await server.stub.SubmitCommand(recording_start("before"))
        assert await end(server.stub, before.command.command_id) == "SUCCEEDED"
        await anext(replied)
        dock.behave(None, simulate.Slow(0.3))
        meanwhile = await server.stub.SubmitCommand(recording_start("meanwhile"))
        await dock.wait_received(2)
        assert await health.status(server.channel, DISPATCH) == SERVING

        disk.fill(server)
        for number in range(5):
            await is_refused(server.stub, f"refused {number}")
            assert await post(server, key, by_http(f"refused {number}")) == (503, "UNAVAILABLE")
        # The reply is there, and nothing can say so.
        await anext(replied)
        await is_refused(server.stub, "refused behind it")
        assert await status(server.stub, before.command.command_id) == "SUCCEEDED"
        assert await status(server.stub, meanwhile.command.command_id) in ("ACCEPTED", "DELIVERED")
        assert await health.status(server.channel, DISPATCH) == NOT_SERVING
        assert await health.status(server.channel, "") == SERVING

        disk.make_room()
        await health.until(server.channel, DISPATCH)
        assert await end(server.stub, meanwhile.command.command_id) == "SUCCEEDED"
        again = await server.stub.SubmitCommand(recording_start("refused 0"))
        assert not again.replayed
        assert await end(server.stub, again.command.command_id) == "SUCCEEDED"
        assert (await post(server, key, by_http("by http")))[0] == 202
    assert server.events().count("store_cannot_write") == 1
    assert server.events().count("store_can_write_again") == 1
    assert len([entry for entry in server.log if entry["level"] == "error"]) == 1
    assert len(commands(dock)) == len(set(commands(dock))) == 4


async def test_a_reply_that_a_full_disk_did_not_take_comes_again_after_a_crash(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, disk: Disk
) -> None:
    """It was not acknowledged to the broker, as it was not recorded."""
    async with (
        server_process.serving(mosquitto.url, disk.database) as server,
        replies(mosquitto) as replied,
    ):
        await dock.wait_ready()
        dock.behave(None, simulate.Slow(0.3))
        submitted = await server.stub.SubmitCommand(recording_start("k"))
        command_id = submitted.command.command_id
        await dock.wait_received(1)
        disk.fill(server)
        await anext(replied)
        await is_refused(server.stub, "refused")
        assert await status(server.stub, command_id) in ("ACCEPTED", "DELIVERED")
        server.process.kill()
        await server.process.wait()

    disk.make_room()
    async with server_process.serving(mosquitto.url, disk.database) as server:
        assert await end(server.stub, command_id) == "SUCCEEDED"
    assert commands(dock) == [command_id]


async def test_a_locked_database_refuses_and_holds_up_nobody_else(
    mosquitto: RunningBroker,
    dock: simulate.SimulatedDock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another program holds it for longer than is waited; only the writer's thread waits."""
    monkeypatch.setattr(opening, "_PRAGMAS", ("PRAGMA busy_timeout = 1000", *opening._PRAGMAS[1:]))
    async with gateway.running(mosquitto.url, tmp_path) as running, replies(mosquitto) as replied:
        await dock.wait_ready()
        dock.behave(None, simulate.Slow(0.2))
        submitted = await running.stub.SubmitCommand(recording_start("before", timeout_seconds=1))
        command_id = submitted.command.command_id
        with closing(sqlite3.connect(tmp_path / "dockgate.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            refusing = asyncio.ensure_future(is_refused(running.stub, "refused"))
            longest, reads = 0.0, 0
            while not refusing.done():
                began = time.monotonic()
                assert await status(running.stub, command_id) in ("ACCEPTED", "DELIVERED")
                longest, reads = max(longest, time.monotonic() - began), reads + 1
            await refusing
            assert reads > 50
            assert longest < 0.5
            # The reply has come, and the deadline has passed: both wait for the record.
            await anext(replied)
            await is_refused(running.stub, "refused")
            assert await status(running.stub, command_id) in ("ACCEPTED", "DELIVERED")
            other.execute("ROLLBACK")
        assert await end(running.stub, command_id) in ("SUCCEEDED", "TIMED_OUT")
        dock.behave(None)
        submitted = await running.stub.SubmitCommand(recording_start("refused"))
        assert await end(running.stub, submitted.command.command_id) == "SUCCEEDED"
    assert len(commands(dock)) == 2


async def test_a_database_that_is_damaged_meanwhile_is_not_written_any_more(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> None:
    """Waiting does not heal it: the gateway says so, and stays up for what can still be read."""
    database = tmp_path / "dockgate.db"
    async with gateway.running(mosquitto.url, tmp_path) as running:
        await dock.wait_ready()
    async with (
        gateway.running(mosquitto.url, tmp_path) as running,
        grpc.aio.insecure_channel(running.app.grpc_address) as channel,
    ):
        await health.until(channel, DISPATCH)
        with database.open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        store = running.app.store
        for connection in (store._writer._connection, store._db._reading):
            await connection.run(lambda db: db.execute("PRAGMA shrink_memory"))
        for number in range(3):
            await is_refused(running.stub, f"k{number}")
        assert await health.status(channel, DISPATCH) == NOT_SERVING
        assert await health.status(channel, "") == SERVING
    assert commands(dock) == []


@pytest.mark.parametrize("damage", ["not a database", "page", "another program's"])
async def test_a_database_that_cannot_be_used_is_refused_at_the_start_in_one_line(
    tmp_path: Path, damage: str
) -> None:
    """Exit code 1, and nothing is left behind."""
    database = tmp_path / "dockgate.db"
    if damage == "not a database":
        database.write_bytes(b"Remember the milk. " * 500)
    elif damage == "page":
        async with SqliteStore(database):
            pass
        with database.open("r+b") as file:
            file.seek(100)
            file.write(b"\xa5" * 3996)
    else:
        with closing(sqlite3.connect(database)) as other:
            other.execute("CREATE TABLE theirs (a)")
    before = database.read_bytes()
    code, words = await server_process.refused(database)
    assert code == 1
    (line,) = words.splitlines()
    assert orjson.loads(line)["message"].startswith(f"cannot open the database {database}: ")
    assert database.read_bytes() == before


async def test_a_full_disk_is_refused_at_the_start_in_one_line(tmp_path: Path) -> None:
    """A gateway that started all the same would refuse every command."""
    with small_disk(tmp_path) as disk:
        async with SqliteStore(disk.database):
            pass
        disk.fill()
        code, words = await server_process.refused(disk.database)
        assert code == 1
        (line,) = words.splitlines()
        assert orjson.loads(line)["message"].endswith(": disk I/O error")
        disk.make_room()
        async with SqliteStore(disk.database):
            pass
