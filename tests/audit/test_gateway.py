"""The whole gateway writes down who asked for what, from where, and every refusal."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import orjson
import pytest
from support import gateway, server_process
from support.audit import entries
from support.clock import ManualClock
from support.gateway import Gateway, recording_start

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1 import device_service_pb2 as devices_pb
from dockgate.downlink.v1.device_service_pb2_grpc import DeviceServiceStub
from dockgate_server import sealing
from dockgate_server.access import signature
from dockgate_server.access.keys import Keys, NewKey
from dockgate_server.clock import SystemClock
from dockgate_server.model.audit import Entry
from dockgate_server.model.caller import ORDINARY, Scope
from dockgate_server.sealing import KeySource
from dockgate_server.store.sqlite import SqliteStore, audit_file, backup
from dockgate_server.store.sqlite.audit_file import Verified

NO_BROKER = "mqtt://127.0.0.1:1"
COMMANDS = "/api/v1/open/downlink/commands"
DEVICES = [{"id": "drone-001", "gateway": "dock-001"}]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway without a broker, behind a proxy."""
    async with serving(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Gateway]:
    """The same, once more on the same database."""
    http = {"listen": "127.0.0.1:0", "trusted_proxy": True}
    async with gateway.running(NO_BROKER, folder, devices=DEVICES, http=http) as running:
        yield running


def recorded(database: Path, **which: Any) -> list[Entry]:
    """What is recorded, but for the gateway's coming and going."""
    found = [one.entry for one in entries(database, **which)]
    return [one for one in found if one.action not in ("started", "stopped")]


def verified(database: Path) -> Verified:
    """What verifying finds."""
    key = sealing.read_key(Path(f"{database}.key"))
    assert key is not None
    return audit_file.verify(database, key, None, lambda _: None)


async def settle(running: Gateway) -> None:
    """Let everything be recorded that is on its way."""
    for _ in range(3):
        await running.app.store.forget_nonces(0)


async def refusal(call: Any) -> grpc.StatusCode:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


def a_key(running: Gateway) -> Keys:
    """The keys, as `dockgate keys` has them."""
    path = running.app.store._path
    return Keys(running.app.store, KeySource(Path(f"{path}.key")), SystemClock())


async def post(
    running: Gateway,
    key: NewKey,
    body: Mapping[str, Any],
    secret: str = "",
    nonce: str = "",
    **headers: str,
) -> int:
    """Submit over HTTP."""
    raw = orjson.dumps(body)
    signed = signature.signed_headers(
        api_id=key.key.api_id,
        secret=secret or key.secret,
        method="POST",
        target=COMMANDS,
        timestamp=int(time.time()),
        nonce=nonce or uuid.uuid4().hex,
        body=raw,
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    all_headers = {**signed, "Content-Type": "application/json", **named}
    url = f"http://{running.app.http_address}{COMMANDS}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=raw, headers=all_headers) as answer,
    ):
        return answer.status


def body(key: str, command_type: str = "camera_recording_start", **payload: Any) -> dict[str, Any]:
    """A submission for drone-001."""
    return {
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": command_type,
        "payload": payload or {"payload_index": "39-0-7"},
        "idempotency_key": key,
    }


async def test_an_accepted_command_is_in_the_log(running: Gateway, tmp_path: Path) -> None:
    """Over gRPC: who, from where, which command to which device, and what was said in it."""
    call = running.stub.SubmitCommand(recording_start("k1"), metadata=(("x-request-id", "r-1"),))
    command = (await call).command
    (one,) = recorded(tmp_path / "dockgate.db")
    assert (one.action, one.outcome) == ("submit_command", "accepted")
    assert (one.tenant, one.principal, one.is_proven) == ("default", "local", True)
    assert (one.transport, one.request_id) == ("grpc", "r-1")
    assert one.peer.startswith("127.0.0.1:")
    assert (one.target, one.device_id) == (command.command_id, "drone-001")
    assert (one.method, one.dangerous) == ("camera_recording_start", False)
    db = sqlite3.connect(tmp_path / "dockgate.db")
    with contextlib.closing(db):
        assert db.execute("SELECT content_hash FROM command").fetchone() == (one.digest,)


async def test_a_dangerous_method_is_flagged(running: Gateway, tmp_path: Path) -> None:
    """Accepted or refused."""
    keys = a_key(running)
    may = await keys.create(scopes=ORDINARY | {Scope.DANGEROUS})
    may_not = await keys.create()
    dangerous = body("k1", "device_reboot", **{"": ""})
    dangerous["payload"] = {}
    assert await post(running, may, dangerous) == 202
    assert await post(running, may_not, {**dangerous, "idempotency_key": "k2"}) == 403
    await settle(running)
    found = recorded(tmp_path / "dockgate.db", dangerous=True)
    assert [(one.action, one.principal) for one in found] == [
        ("key_created", "local"),
        ("submit_command", may.key.api_id),
        ("submit_command", may_not.key.api_id),
    ]
    assert found[0].target == may.key.api_id
    assert (found[2].reason, found[2].device_id) == ("FORBIDDEN", "drone-001")
    assert found[2].method == "device_reboot"


async def test_http_names_who_the_proxy_names(running: Gateway, tmp_path: Path) -> None:
    """The last one in X-Forwarded-For: what stands before it the caller may have made up."""
    key = await a_key(running).create()
    forwarded = "203.0.113.9, 198.51.100.4"
    assert (
        await post(running, key, body("k1"), X_Forwarded_For=forwarded, X_Request_Id="r-7") == 202
    )
    assert await post(running, key, body("k2"), X_Forwarded_For="2001:db8::7") == 202
    assert await post(running, key, body("k3"), X_Forwarded_For="nonsense") == 202
    found = recorded(tmp_path / "dockgate.db", action="submit_command")
    assert (found[0].transport, found[0].peer, found[0].request_id) == (
        "http",
        "198.51.100.4",
        "r-7",
    )
    assert found[1].peer == "[2001:db8::7]"
    assert found[2].peer.startswith("127.0.0.1:")


async def test_refusals_over_http_are_in_the_log(running: Gateway, tmp_path: Path) -> None:
    """With who it was, as far as that was proven."""
    key = await a_key(running).create()
    assert await post(running, key, body("k1"), secret="wrong") == 401
    assert await post(running, key, {**body("k1"), "device_id": "drone-999"}) == 404
    async with aiohttp.ClientSession() as session:
        for method, path in (("GET", COMMANDS), ("GET", "/nowhere"), ("POST", COMMANDS)):
            url = f"http://{running.app.http_address}{path}"
            async with session.request(method, url, data=b"{", headers={"X-Api-Id": "dk_made_up"}):
                pass
    reader, writer = await asyncio.open_connection(*running.app.http_address.split(":"))
    writer.write(b"\x16\x03\x01 is not HTTP\r\n\r\n")
    await reader.read()
    writer.close()
    await settle(running)
    found = [
        (one.action, one.reason, one.principal, one.is_proven)
        for one in recorded(tmp_path / "dockgate.db", outcome="refused")
    ]
    api_id = key.key.api_id
    assert found == [
        ("submit_command", "SIGNATURE_INVALID", api_id, False),
        ("submit_command", "DEVICE_NOT_FOUND", api_id, True),
        ("http", "METHOD_NOT_ALLOWED", "dk_made_up", False),
        ("http", "NOT_FOUND", "dk_made_up", False),
        ("submit_command", "UNSUPPORTED_MEDIA_TYPE", "dk_made_up", False),
        ("http", "INVALID_REQUEST_BODY", "", False),
    ]


async def test_a_copy_is_not_laid_to_the_charge_of_whoever_has_signed_it(
    running: Gateway, tmp_path: Path
) -> None:
    """Whose it is is only what it claims."""
    key = await a_key(running).create()
    assert await post(running, key, body("k1"), nonce="n") == 202
    assert await post(running, key, body("k1"), nonce="n") == 401
    await settle(running)
    accepted, copy = recorded(tmp_path / "dockgate.db", action="submit_command")
    assert (accepted.outcome, accepted.is_proven) == ("accepted", True)
    assert (copy.outcome, copy.reason, copy.is_proven) == ("refused", "NONCE_REPLAYED", False)
    assert copy.principal == key.key.api_id


async def test_refusals_over_grpc_are_in_the_log(running: Gateway, tmp_path: Path) -> None:
    """Of reading as well as of changing."""
    unknown = str(uuid.uuid4())
    stub = running.stub
    await refusal(stub.SubmitCommand(recording_start("k1", "drone-999")))
    await refusal(stub.GetCommand(pb.GetCommandRequest(command_id=unknown)))
    bearer = (("authorization", "Bearer dk_made_up.dks_secret"),)
    request = pb.ListCommandsRequest()
    assert await refusal(stub.ListCommands(request, metadata=bearer)) is (
        grpc.StatusCode.UNAUTHENTICATED
    )
    await settle(running)
    submit, get, listing = recorded(tmp_path / "dockgate.db", outcome="refused")
    assert (submit.reason, submit.device_id) == ("DEVICE_NOT_FOUND", "drone-999")
    assert submit.method == "camera_recording_start"
    assert (get.action, get.target) == ("get_command", unknown)
    assert (listing.action, listing.reason, listing.is_proven) == (
        "list_commands",
        "UNAUTHORIZED",
        False,
    )
    assert "dks_secret" not in repr(entries(tmp_path / "dockgate.db"))


async def test_a_submission_made_again_is_told_apart(running: Gateway, tmp_path: Path) -> None:
    """It sends nothing, and refers to the command that there is."""
    command = (await running.stub.SubmitCommand(recording_start("k1"))).command
    for _ in range(2):
        assert (await running.stub.SubmitCommand(recording_start("k1"))).replayed
    other = recording_start("k1", timeout_seconds=7)
    assert await refusal(running.stub.SubmitCommand(other)) is grpc.StatusCode.ALREADY_EXISTS
    await settle(running)
    found = recorded(tmp_path / "dockgate.db")
    assert [(one.outcome, one.reason) for one in found] == [
        ("accepted", ""),
        ("replayed", ""),
        ("refused", "IDEMPOTENCY_CONFLICT"),
    ]
    assert {one.target for one in found} == {command.command_id}


async def test_cancelling_is_in_the_log_once_it_is_done(running: Gateway, tmp_path: Path) -> None:
    """A second time changes nothing."""
    request = recording_start("k1", offline_policy=2)
    command = (await running.stub.SubmitCommand(request)).command
    for _ in range(2):
        await running.stub.CancelCommand(pb.CancelCommandRequest(command_id=command.command_id))
    (one,) = recorded(tmp_path / "dockgate.db", action="cancel_command")
    assert (one.outcome, one.target, one.device_id) == ("done", command.command_id, "drone-001")


async def test_naming_and_forgetting_devices_is_in_the_log(
    running: Gateway, tmp_path: Path
) -> None:
    """By serial number and name."""
    stub: Any = DeviceServiceStub(running.channel)
    request = devices_pb.RegisterDeviceRequest(device_id="north", serial_number="dock-007")
    await stub.RegisterDevice(request)
    await stub.RemoveDevice(devices_pb.RemoveDeviceRequest(device_id="north"))
    found = recorded(tmp_path / "dockgate.db", device_id="dock-007")
    assert [(one.action, one.target) for one in found] == [
        ("register_device", "north"),
        ("remove_device", "north"),
    ]


async def test_changes_of_keys_are_in_the_log(running: Gateway, tmp_path: Path) -> None:
    """Each as what it is; what changes nothing is not there."""
    keys = a_key(running)
    api_id = (await keys.create()).key.api_id
    await keys.rotate(api_id)
    await keys.finish_rotation(api_id)
    await keys.rotate(api_id)
    await keys.undo_rotation(api_id)
    assert await keys.disable(api_id)
    assert not await keys.disable(api_id)
    found = recorded(tmp_path / "dockgate.db")
    assert [one.action for one in found] == [
        "key_created",
        "key_rotated",
        "key_rotation_finished",
        "key_rotated",
        "key_rotation_undone",
        "key_disabled",
    ]
    assert {one.target for one in found} == {api_id}


async def test_a_refusal_is_given_also_when_nothing_can_be_recorded(
    running: Gateway, tmp_path: Path
) -> None:
    """And recorded when that is possible again."""
    await running.set_writable(False)
    code = await refusal(running.stub.SubmitCommand(recording_start("k1", "drone-999")))
    assert code is grpc.StatusCode.NOT_FOUND
    with contextlib.suppress(Exception):
        await settle(running)
    await running.set_writable(True)
    async with asyncio.timeout(10):
        while not (found := recorded(tmp_path / "dockgate.db")):
            await settle(running)
    assert [one.reason for one in found] == ["DEVICE_NOT_FOUND"]


async def test_the_log_goes_on_over_restarts_and_after_a_restoration(tmp_path: Path) -> None:
    """And says that it was restored, and of when the backup is."""
    for _ in range(2):
        async with serving(tmp_path) as running:
            await running.stub.SubmitCommand(recording_start(uuid.uuid4().hex))
    database, copy = tmp_path / "dockgate.db", tmp_path / "restored" / "dockgate.db"
    copy.parent.mkdir()
    backup.take(database, copy, ManualClock(1_776_859_200_000), lambda *_: None)
    os.rename(f"{database}.key", f"{copy}.key")  # noqa: PTH104
    async with serving(copy.parent):
        pass
    found = [(one.entry.action, one.entry.target) for one in entries(copy)]
    assert [action for action, _ in found[:6]] == ["started", "submit_command", "stopped"] * 2
    assert found[6:] == [("restored", "backup of 1776859200000"), ("started", ""), ("stopped", "")]
    assert verified(copy).found is None


async def test_old_entries_are_removed_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the setting says."""
    monkeypatch.setattr("dockgate_server.retention.ROUND_SECONDS", 0.001)
    async with serving(tmp_path):
        pass
    database = tmp_path / "dockgate.db"
    old = SystemClock().now_ms() - 3 * 86_400_000
    async with SqliteStore(database) as store:
        key = sealing.read_key(Path(f"{database}.key"))
        assert key is not None
        await store.audit.unlock(key)
        await store.audit.remove_old(SystemClock().now_ms() + 1, 0, 0)
        await store.audit.record(Entry(old, "started", "done"))
    audit = {"keep_days": 2}
    async with gateway.running(NO_BROKER, tmp_path, audit=audit) as running:
        async with asyncio.timeout(10):
            while any(one.entry.at == old for one in entries(database)):
                await settle(running)
    assert verified(database).found is None


async def test_keys_can_be_changed_while_the_gateway_works(tmp_path: Path) -> None:
    """`dockgate keys` writes to the same chain from another process."""
    database = tmp_path / "dockgate.db"
    async with serving(tmp_path) as running:
        submitting = asyncio.create_task(_submit(running, 200))
        for _ in range(5):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dockgate_server", "keys", "create"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "DOCKGATE_STORE__PATH": str(database)},
            )
            assert await process.wait() == 0
        await submitting
    assert len(recorded(database, action="key_created")) == 5
    assert {one.transport for one in recorded(database, action="key_created")} == {"cli"}
    assert len(recorded(database, action="submit_command")) == 200
    assert verified(database).found is None


async def _submit(running: Gateway, count: int) -> None:
    for number in range(count):
        await running.stub.SubmitCommand(recording_start(f"k{number}"))


async def _submitting(
    server: Any, acknowledged: list[str], enough: int, reached: asyncio.Event
) -> None:
    while True:
        request = recording_start(uuid.uuid4().hex, offline_policy=2)
        acknowledged.append((await server.stub.SubmitCommand(request)).command.command_id)
        if len(acknowledged) >= enough:
            reached.set()


async def test_a_kill_leaves_every_accepted_command_with_its_entry(tmp_path: Path) -> None:
    """And no entry without its command: they are one transaction."""
    database = tmp_path / "dockgate.db"
    acknowledged: list[str] = []
    for kill_after in (50, 150, 250):
        async with server_process.serving(NO_BROKER, database) as server:
            stub: Any = DeviceServiceStub(server.channel)
            await stub.RegisterDevice(devices_pb.RegisterDeviceRequest(device_id="drone-001"))
            enough = len(acknowledged) + kill_after

            reached = asyncio.Event()

            tasks = [
                asyncio.create_task(_submitting(server, acknowledged, enough, reached))
                for _ in range(16)
            ]
            async with asyncio.timeout(30):
                await reached.wait()
            os.kill(server.process.pid, signal.SIGKILL)
            await server.process.wait()
            await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.closing(sqlite3.connect(database)) as db:
        commands = [row[0] for row in db.execute("SELECT id FROM command ORDER BY seq")]
    audited = [one.target for one in recorded(database, action="submit_command")]
    assert audited == commands
    assert set(acknowledged) <= set(commands)
    assert verified(database).found is None
