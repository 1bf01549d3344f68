"""Trouble with the broker, with real parts: the record stays true and everything goes on."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiomqtt
import grpc
import orjson
import pytest
from support import brokers, gateway, health, proxy
from support.brokers import RunningBroker
from support.gateway import Gateway, quick_dock, recording_start
from support.log import Log
from support.proxy import PUBACK

from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate_server import simulate
from dockgate_server.bridge import session, wire
from dockgate_server.bridge.connecting import RECEIVE_MAXIMUM
from dockgate_server.rpc.health import DISPATCH

pytestmark = pytest.mark.broker

TWO_DOCKS = ({"id": "drone-001", "gateway": "dock-001"}, {"id": "drone-002", "gateway": "dock-002"})


async def accepted(running: Gateway, key: str, **fields: Any) -> str:
    """Submit a command that is accepted."""
    answer = await running.stub.SubmitCommand(recording_start(key, **fields))
    return str(answer.command.command_id)


def reached(dock: simulate.SimulatedDock) -> list[str | None]:
    """The commands that have reached a dock, in order."""
    return [message.tid for message in dock.received if message.on == "services"]


async def test_a_broker_that_restarts_under_load_leaves_no_command_without_an_end(
    mosquitto: RunningBroker, tmp_path: Path, log: Log
) -> None:
    """And none is sent twice; the next ones are carried out as if nothing had been."""
    docked = simulate.SimulatedDock(quick_dock(mosquitto))
    async with gateway.running(mosquitto.url, tmp_path) as running, docked as dock:
        await dock.wait_ready()
        ids: list[str] = []

        async def load() -> None:
            for number in range(600):
                one = await accepted(running, f"k{number}", timeout_seconds=3)
                ids.append(one)

        loading = asyncio.create_task(load())
        for restart in range(2):
            await dock.wait_received(50 * (restart + 1))
            mosquitto.kill()
            mosquitto.start()
        await loading
        ends = Counter(await asyncio.gather(*(running.end_of(one) for one in ids)))

        await dock.wait_ready()
        async with asyncio.timeout(20):
            number = 0
            while await running.end_of(await accepted(running, f"again {number}")) != "SUCCEEDED":
                number += 1
    assert ends.total() == 600
    assert ends.keys() <= {"SUCCEEDED", "FAILED", "TIMED_OUT"}
    assert ends["SUCCEEDED"] > 100
    assert max(Counter(reached(dock)).values()) == 1
    assert [entry for entry in log if entry["log_level"] == "error"] == []


async def test_a_broker_that_refuses_one_docks_messages_fails_them_and_no_others(
    tmp_path: Path,
) -> None:
    """With its own words; the acknowledgement alone would look like success."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    rights = tmp_path / "rights"
    rights.write_text("topic read #\ntopic write sys/#\ntopic write thing/product/dock-001/#\n")
    with brokers.running("mosquitto", f"acl_file {rights}") as broker:
        async with (
            gateway.running(broker.url, tmp_path, devices=TWO_DOCKS) as running,
            simulate.SimulatedDock(quick_dock(broker)) as dock,
        ):
            await dock.wait_ready()
            refused = await accepted(running, "two", device_id="drone-002")
            last = (await running.events(refused))[-1].command
            assert await running.end_of(await accepted(running, "one")) == "SUCCEEDED"

    assert last.status == command_pb2.COMMAND_STATUS_FAILED
    assert last.failure_code == error_reason_pb2.FAILURE_CODE_DELIVERY_REFUSED
    assert "Not authorized" in last.failure_reason


async def test_a_broker_that_stops_to_acknowledge_does_not_stop_the_backlog_for_ever(
    mosquitto: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on to answer pings, and the window is full of messages that may have left."""
    monkeypatch.setattr(session, "PATIENCE_KEEPALIVES", 0.05)
    docked = simulate.SimulatedDock(quick_dock(mosquitto))
    async with (
        proxy.before(f"127.0.0.1:{mosquitto.port}") as between,
        gateway.running(f"mqtt://{between.address}", tmp_path) as running,
        docked as dock,
    ):
        await dock.wait_ready()
        between.withheld = PUBACK
        between.hang_up()
        ids = [await accepted(running, f"k{number}") for number in range(100)]
        await between.has_withheld.wait()
        between.withheld = None
        assert {await running.end_of(one) for one in ids} == {"SUCCEEDED"}
    assert sorted(map(str, reached(dock))) == sorted(ids)


async def test_a_slow_store_makes_the_broker_keep_replies_and_not_drop_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more are on their way than we have asked for; the others wait in the broker's queue."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    arrived: list[int] = []
    marked = asyncio.Event()
    read_publish = wire.read_publish

    def note(*packet: Any, **version: bool) -> Any:
        read = read_publish(*packet, **version)
        packet_id = read[2]
        arrived.append(int(packet_id > 0))
        if not packet_id:
            marked.set()
        return read

    monkeypatch.setattr(wire, "read_publish", note)
    replies = 2 * RECEIVE_MAXIMUM + 500
    reply, event = (f"thing/product/dock-001/{end}" for end in ("services_reply", "events"))
    five = aiomqtt.ProtocolVersion.V5
    with brokers.running("mosquitto", "max_inflight_messages 0") as broker:
        async with (
            gateway.running(broker.url, tmp_path) as running,
            grpc.aio.insecure_channel(running.app.grpc_address) as channel,
            aiomqtt.Client("127.0.0.1", broker.port, protocol=five) as dock,
        ):
            await health.until(channel, DISPATCH)
            await running.set_writable(False)
            for number in range(replies):
                answer = orjson.dumps({"tid": f"unknown-{number}", "data": {"result": 0}})
                await dock.publish(reply, answer, qos=1)
            await dock.publish(event, b"{}", qos=0)
            await marked.wait()
            assert arrived.count(1) == RECEIVE_MAXIMUM

            await running.set_writable(True)
            async with asyncio.timeout(30):
                while await _recorded(running) < replies:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.1)
            assert arrived.count(1) == await _recorded(running) == replies


async def _recorded(running: Gateway) -> int:
    """How many replies have gone to the ledger."""
    page = await running.app.store.list_unmatched("default", "", None, 1)
    return page.recorded
