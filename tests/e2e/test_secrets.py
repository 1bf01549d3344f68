"""No secret of a payload is left behind, with a real server process, broker and dock.

After each step everything that the server has written is searched: the database with its
companions, a backup, its log and its answers.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import grpc
import orjson
import pytest
from support import server_process
from support.brokers import RunningBroker
from support.gateway import quick_dock
from support.server_process import ServerProcess

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1 import device_request_service_pb2 as requests_pb
from dockgate.downlink.v1 import device_service_pb2 as device_pb
from dockgate.downlink.v1.device_request_service_pb2_grpc import DeviceRequestServiceStub
from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub
from dockgate_server import simulate
from dockgate_server.access import signature
from dockgate_server.access.keys import Keys, NewKey
from dockgate_server.clock import SystemClock
from dockgate_server.codec import dji_json
from dockgate_server.store.sqlite import SqliteStore, backup

pytestmark = pytest.mark.broker

COMMANDS = "/api/v1/open/downlink/commands"
CREDENTIALS = {
    "access_key_id": "hush-id-5f1c",
    "access_key_secret": "hush-secret-77ab",
    "expire": 3600,
    "security_token": "hush-token-20de",
}
HUSH = [one for one in CREDENTIALS.values() if isinstance(one, str)]
UPLOAD = {
    "bucket": "media",
    "region": "eu",
    "credentials": CREDENTIALS,
    "endpoint": "https://s3.example",
    "provider": "aws",
    "params": {"files": [{"object_key": "o", "module": "3", "list": [{"boot_index": 1}]}]},
}
KNOWN = '[{"id": "dock-001"}]'


@dataclass
class Search:
    """Everything that the server has written or said so far."""

    folder: Path
    said: list[str] = field(default_factory=list)

    async def nothing(self) -> None:
        """No secret is in any of it. The database is there, so this does not pass by itself."""
        database = self.folder / "dockgate.db"
        copy = self.folder / f"copy-{uuid.uuid4().hex}.db"
        await asyncio.to_thread(backup.take, database, copy, SystemClock(), lambda *_: None)
        written = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        assert b"fileupload_start" in b"".join(written.values())
        for secret in HUSH:
            for name, content in written.items():
                assert secret.encode() not in content, name
            assert [one for one in self.said if secret in one] == []

    def log(self, server: ServerProcess) -> None:
        """What the server has logged."""
        assert server.log
        self.said += [json.dumps(entry) for entry in server.log]


@pytest.fixture
async def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewKey:
    """An API key in the database of a server that says all that it can say."""
    monkeypatch.setenv("DOCKGATE_LOG__LEVEL", "debug")
    monkeypatch.setenv("DOCKGATE_DEVICES", KNOWN)
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        return await Keys(store, tmp_path / "dockgate.db.key", SystemClock()).create()


@pytest.fixture
async def dock(mosquitto: RunningBroker) -> AsyncIterator[simulate.SimulatedDock]:
    """dock-001, which takes uploads and says nothing."""
    silent = {"fileupload_start": (simulate.Silent(),)}
    async with simulate.SimulatedDock(quick_dock(mosquitto, behaviours=silent)) as dock:
        yield dock


@asynccontextmanager
async def serving(
    mosquitto: RunningBroker, search: Search, dock: simulate.SimulatedDock
) -> AsyncIterator[ServerProcess]:
    """A server whose log is searched as well, once it knows the dock."""
    async with server_process.serving(mosquitto.url, search.folder / "dockgate.db") as server:
        await dock.wait_ready()
        yield server
    search.log(server)


def upload(key: str, **changed: Any) -> pb.SubmitCommandRequest:
    """A submission of fileupload_start."""
    request = pb.SubmitCommandRequest(
        device_id="dock-001", idempotency_key=key, **{"timeout_seconds": 30, **changed}
    )
    assert not dji_json.from_dict(UPLOAD, request.dji.fileupload_start)
    return request


async def post(server: ServerProcess, key: NewKey, **members: Any) -> tuple[int, str]:
    """Submit over HTTP; status and text of the answer."""
    values = {
        "vendor": "dji",
        "device_id": "dock-001",
        "command_type": "fileupload_start",
        "payload": UPLOAD,
        "timeout_seconds": 30,
        "idempotency_key": uuid.uuid4().hex,
        **members,
    }
    body = orjson.dumps(values)
    headers = signature.signed_headers(
        api_id=key.key.api_id,
        secret=key.secret,
        method="POST",
        target=COMMANDS,
        timestamp=int(time.time()),
        nonce=uuid.uuid4().hex,
        body=body,
    )
    async with (
        aiohttp.ClientSession(headers={**headers, "Content-Type": "application/json"}) as session,
        session.post(f"http://{server.http_address}{COMMANDS}", data=body) as answer,
    ):
        return answer.status, await answer.text()


async def seen(server: ServerProcess) -> list[str]:
    """All commands as callers see them, with their events."""
    found = await server.stub.ListCommands(pb.ListCommandsRequest())
    unmatched = await server.stub.ListUnmatchedResponses(pb.ListUnmatchedResponsesRequest())
    assert found.commands
    return [str(found), found.SerializeToString().decode("latin-1"), str(unmatched)]


async def end_of(server: ServerProcess, command_id: str) -> list[str]:
    """Follow a command to its end; what was said on the way."""
    request = pb.WatchCommandRequest(command_id=command_id)
    return [str(one) async for one in server.stub.WatchCommand(request, timeout=30)]


def delivered(dock: simulate.SimulatedDock, command_id: str) -> Any:
    """The data with which a command reached the dock, each time the same."""
    (data,) = [one.data for one in dock.received if one.tid == command_id]
    return data


async def test_credentials_of_an_upload_are_nowhere_but_on_the_dock(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path, key: NewKey
) -> None:
    """While the command is open, after a kill, and when it has ended; refused ones as well."""
    search = Search(tmp_path)
    async with serving(mosquitto, search, dock) as server:
        answer = await server.stub.SubmitCommand(upload("grpc", timeout_seconds=4))
        search.said.append(str(answer))
        status, text = await post(server, key)
        assert status == 202
        search.said.append(text)
        ids = [answer.command.command_id, json.loads(text)["command_id"]]
        await dock.wait_received(2)
        assert [delivered(dock, one) for one in ids] == [UPLOAD] * 2
        search.said += await seen(server)
        await search.nothing()

        again = await server.stub.SubmitCommand(upload("grpc", timeout_seconds=4))
        assert again.replayed
        refused = [
            await post(server, key, command_type="camera_recording_start"),
            await post(server, key, payload={**UPLOAD, "bucket": 7, "endpoint": ""}),
            await post(server, key, payload={**UPLOAD, "provider": None}),
            await post(server, key, device_id="nobody"),
            await post(server, key, payload=CREDENTIALS["security_token"]),
        ]
        assert [status for status, _ in refused] == [400, 400, 400, 404, 400]
        search.said += [text for _, text in refused]
        wrong = upload("wrong")
        wrong.dji.fileupload_start.ClearField("bucket")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await server.stub.SubmitCommand(wrong)
        search.said += [str(raised.value), repr(raised.value.trailing_metadata())]
        await search.nothing()
        server.process.kill()
        await server.process.wait()
    await search.nothing()

    dock.behave("fileupload_start", simulate.Reply({"result": 0, "output": {**UPLOAD}}))
    async with serving(mosquitto, search, dock) as server:
        answer = await server.stub.SubmitCommand(upload("answered"))
        for command_id in (answer.command.command_id, ids[0]):
            search.said += await end_of(server, command_id)
        search.said += await seen(server)
        assert delivered(dock, answer.command.command_id) == UPLOAD
        again = await server.stub.SubmitCommand(upload("grpc", timeout_seconds=4))
        assert again.replayed
        await search.nothing()
    await search.nothing()


async def test_what_a_device_repeats_of_them_is_not_kept(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path, key: NewKey
) -> None:
    """Replies that fit no command, broken ones too, and events."""
    search = Search(tmp_path)
    async with serving(mosquitto, search, dock) as server:
        events = DeviceServiceStub(server.channel).WatchEvents(device_pb.WatchEventsRequest())
        await server.stub.SubmitCommand(upload("open"))
        whole = {"tid": uuid.uuid4().hex, "method": "fileupload_start", "data": UPLOAD}
        without_tid = {"method": "fileupload_start", "data": UPLOAD}
        async with aiomqtt.Client("127.0.0.1", mosquitto.port) as device:
            topic = "thing/product/dock-001/services_reply"
            await device.publish(topic, orjson.dumps(whole), qos=1)
            await device.publish(topic, orjson.dumps(without_tid), qos=1)
            await device.publish(topic, orjson.dumps(whole)[:-9], qos=1)
            event = {**whole, "method": "brand_new_event"}
            await device.publish("thing/product/dock-001/events", orjson.dumps(event), qos=1)
        async for told in events:
            search.said.append(str(told))
            if "brand_new_event" in str(told):
                break
        unmatched = await server.stub.ListUnmatchedResponses(pb.ListUnmatchedResponsesRequest())
        assert len(unmatched.responses) == 3
        assert str(unmatched).count("s3.example") == 2  # the rest of what could be read is there
        search.said += await seen(server)
        await search.nothing()
    await search.nothing()


async def test_what_a_person_answers_a_device_is_not_kept(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path, key: NewKey
) -> None:
    """The dock gets the credentials whole; the record of the request has none of them."""
    search = Search(tmp_path)
    async with serving(mosquitto, search, dock) as server:
        await server.stub.SubmitCommand(upload("so that there is one"))
        inbox = DeviceRequestServiceStub(server.channel)
        asking = asyncio.create_task(dock.ask("storage_config_get", {"module": 0}))
        watching = inbox.WatchDeviceRequests(requests_pb.WatchDeviceRequestsRequest())
        async for update in watching:
            if update.HasField("request"):
                waiting = update.request
                break
        reply = requests_pb.ReplyDeviceRequestRequest(request_id=waiting.request_id, reply_code=0)
        reply.payload.update({"output": UPLOAD})
        search.said.append(str(await inbox.ReplyDeviceRequest(reply)))
        assert "hush-token-20de" in json.dumps(await asking)
        listed = await inbox.ListDeviceRequests(requests_pb.ListDeviceRequestsRequest())
        assert "s3.example" in str(listed)
        search.said.append(str(listed))
        await search.nothing()
    await search.nothing()


async def test_a_wrong_or_lost_key_stops_the_start_and_changes_nothing(
    tmp_path: Path, key: NewKey
) -> None:
    """In one line that says which file it is about."""
    database, file = tmp_path / "dockgate.db", tmp_path / "dockgate.db.key"
    right = file.read_bytes()
    file.write_bytes(b"w" * 32)
    code, words = await server_process.refused(database)
    assert code != 0
    assert "wrong sealing key" in words
    file.unlink()
    code, words = await server_process.refused(database)
    assert code != 0
    assert f"the sealing key {file} is missing" in words
    assert not file.exists()
    file.write_bytes(right)
    file.chmod(0o600)
    async with SqliteStore(database) as store:
        assert await Keys(store, file, SystemClock()).open(key.key.api_id) is not None
