"""Real traffic at full speed into a running gateway: nothing breaks, and nobody else's word counts.

Commands of every kind are there before: open ones and ended ones, some under the very ids that the
traffic names. What each of them must be afterwards is known, so the whole record is compared.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import orjson
import pytest
from structlog.testing import capture_logs
from support import gateway as gateways
from support.brokers import RunningBroker
from support.gateway import recording_start
from support.records import CHARGE_OPEN, SETUP_ABORT, a_reply, an_accept, in_status

from dockgate_server.codec import topics
from dockgate_server.config import Mqtt
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import Channel, Command, OfflinePolicy, Status
from dockgate_server.model.transitions import RecordReply
from dockgate_server.store.sqlite import SqliteStore
from traffic.messages import MESSAGES, REPLIES, Message

pytestmark = pytest.mark.broker

ROUNDS = 20
TWICE = 15
"""How many messages of each round are published twice."""

GATEWAYS = sorted({message.gateway_id for message in MESSAGES})
LISTENING = "dock-uuid"
"""The one that announces itself in the traffic; the others listen to nothing."""
ENDS = [status for status in Status if status.is_end]


@dataclass
class Scene:
    """The commands that are there before the traffic, and what is expected of them."""

    before: dict[str, Command] = field(default_factory=dict)
    ends: dict[str, Status] = field(default_factory=dict)
    """Those whose own answer, or what cannot be their answer, is in the traffic."""
    may_move: set[str] = field(default_factory=set)
    """Those of which more is learnt, or tried, without a change of status."""
    late: dict[str, str] = field(default_factory=dict)
    """Those whose own answer comes too late, and its code."""
    to_ledger: set[str] = field(default_factory=set)
    """The tids of replies that fit no command."""
    in_ledger: int = 0
    """How many such replies have been recorded before."""


Situation = Callable[[Scene, SqliteStore, Message, dict[str, Any]], Any]


async def _open(scene: Scene, store: SqliteStore, reply: Message, own: dict[str, Any]) -> None:
    """The answer to an open command."""
    command = await in_status(store, Status.DELIVERED, **own)
    good = reply.payload["data"]["result"] == 0
    scene.ends[command.id] = Status.SUCCEEDED if good else Status.FAILED
    scene.before[command.id] = command


async def _other_gateway(
    scene: Scene, store: SqliteStore, reply: Message, own: dict[str, Any]
) -> None:
    """The tid of a command that went elsewhere: the reply fits nothing."""
    command = await in_status(store, Status.DELIVERED, **own | {"gateway_id": "dock-elsewhere"})
    scene.before[command.id] = command
    scene.to_ledger.add(command.id)


async def _other_method(
    scene: Scene, store: SqliteStore, reply: Message, own: dict[str, Any]
) -> None:
    """The tid of a command of another method: that is said of it, and nothing else."""
    command = await in_status(store, Status.DELIVERED, **own | {"command_type": SETUP_ABORT})
    scene.ends[command.id] = Status.UNMATCHED_RESPONSE
    scene.before[command.id] = command
    scene.to_ledger.add(command.id)


async def _timed_out(scene: Scene, store: SqliteStore, reply: Message, own: dict[str, Any]) -> None:
    """The answer comes too late: recorded, and no more."""
    command = await in_status(store, Status.TIMED_OUT, **own)
    scene.before[command.id] = command
    scene.late[command.id] = str(reply.payload["data"]["result"])


async def _answered_before(
    scene: Scene, store: SqliteStore, reply: Message, own: dict[str, Any]
) -> None:
    """Another answer has ended it."""
    command = await in_status(store, Status.DELIVERED, **own)
    await store.apply(RecordReply(a_reply(command.id, {"result": 1}, gateway_id=reply.gateway_id)))
    scene.before[command.id] = await _stored(store, command.id)
    scene.may_move.add(command.id)


async def _unknown(scene: Scene, store: SqliteStore, reply: Message, own: dict[str, Any]) -> None:
    """There is no such command."""
    scene.to_ledger.add(reply.payload["tid"])


SITUATIONS: tuple[Situation, ...] = (
    _open,
    _other_gateway,
    _other_method,
    _timed_out,
    _answered_before,
    _unknown,
)


async def _stored(store: SqliteStore, command_id: str) -> Command:
    command = await store.get_command(DEFAULT_TENANT, command_id)
    assert command is not None
    return command


async def _prepared(database: Path) -> Scene:
    """Fill the database as an earlier life of the gateway has left it."""
    now = time.time_ns() // 1_000_000
    times = {"accepted_at": now, "deadline_at": now + 300_000, "timeout_seconds": 300}
    scene = Scene()

    async def put(status: Status, **changed: Any) -> str:
        command = await in_status(store, status, **times | changed)
        scene.before[command.id] = command
        return command.id

    async with SqliteStore(database) as store:
        for number, reply in enumerate(REPLIES):
            own = {
                "id": reply.payload["tid"],
                "gateway_id": reply.gateway_id,
                "command_type": reply.payload["method"],
            }
            situation = SITUATIONS[number % len(SITUATIONS)]
            await situation(scene, store, reply, times | own)
        for gateway_id in GATEWAYS:
            at = {"gateway_id": gateway_id}
            for channel in Channel:
                await put(Status.DELIVERED, **at, channel=channel)
            await put(Status.ACCEPTED, **at)
            for end in ENDS:
                await put(end, **at)
            if gateway_id != LISTENING:
                # It does not listen, so this is tried at its signs of life, and waits on.
                new = an_accept(offline_policy=OfflinePolicy.QUEUE, **times, **at)
                scene.before[new.id] = (await store.accept(new)).command
                scene.may_move.add(new.id)
        # Under ids that the traffic names elsewhere than in a reply.
        named = {one.payload["tid"]: one for one in MESSAGES if one not in REPLIES}
        for tid, message in named.items():
            if tid not in scene.before and tid not in scene.to_ledger:
                await put(Status.DELIVERED, id=tid, gateway_id=message.gateway_id)
        # Jobs of which the traffic reports.
        jobs = {one.payload["bid"]: one for one in MESSAGES if "bid_equals_flight_id" in one.flags}
        for flight_id, message in jobs.items():
            started = {"command_type": "flighttask_prepare", "job_key": flight_id}
            at = {"gateway_id": message.gateway_id}
            scene.may_move.add(await put(Status.DELIVERED, **at, **started))
            await put(Status.DELIVERED, **at, **started | {"command_type": CHARGE_OPEN})
            await put(Status.DELIVERED, **at | {"gateway_id": "dock-elsewhere"}, **started)
        scene.in_ledger = (await store.list_unmatched(DEFAULT_TENANT, "", None, 1)).recorded
    return scene


def _published(seed: int) -> Iterator[Message]:
    """Every message many times over, in any order, some twice in a round."""
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        round_ = [*MESSAGES, *rng.sample(MESSAGES, TWICE)]
        rng.shuffle(round_)
        yield from round_


@asynccontextmanager
async def _client(on: RunningBroker, **options: Any) -> AsyncIterator[aiomqtt.Client]:
    version = aiomqtt.ProtocolVersion.V5
    client = aiomqtt.Client("127.0.0.1", on.port, protocol=version, **options)
    client.pending_calls_threshold = 10_000
    async with client:
        yield client


async def _submit_and_answer(gateway: gateways.Gateway, dock: aiomqtt.Client, key: str) -> str:
    """A new command for the dock of the traffic, answered as the last message of all."""
    request = recording_start(key, LISTENING, timeout_seconds=60)
    command_id = (await gateway.stub.SubmitCommand(request, timeout=30)).command.command_id
    async for message in dock.messages:
        assert isinstance(message.payload, bytes)
        if orjson.loads(message.payload)["tid"] == command_id:
            break
    answer = {"tid": command_id, "bid": "", "data": {"result": 0}, "timestamp": 1}
    topic = f"thing/product/{LISTENING}/services_reply"
    await dock.publish(topic, orjson.dumps(answer), qos=1)
    return await gateway.end_of(command_id)


async def test_real_traffic_at_full_speed_breaks_nothing_and_moves_nobody_else(
    mosquitto: RunningBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the ids in it: no exception, no end but by the command's own answer."""
    scene = await _prepared(tmp_path / "dockgate.db")
    sent = list(_published(seed=20))
    with capture_logs() as entries:
        async with (
            gateways.running(mosquitto.url, tmp_path) as gateway,
            _client(mosquitto) as dock,
        ):
            await dock.subscribe(topics.services(LISTENING), qos=1)
            publishing = [dock.publish(one.topic, one.content, qos=1) for one in sent]
            await asyncio.gather(*publishing)
            # Behind all that, and in order: its end is the end of the traffic's effects.
            assert await _submit_and_answer(gateway, dock, "behind the traffic") == "SUCCEEDED"
            store = gateway.app.store
            after = {one: await _stored(store, one) for one in scene.before}
            ledger = await store.list_unmatched(DEFAULT_TENANT, "", None, 1)

    _nobody_was_moved(scene, after)
    replies = Counter(one.payload["tid"] for one in sent if one in REPLIES)
    unmatched = sum(replies[tid] for tid in scene.to_ledger)
    assert ledger.recorded == scene.in_ledger + unmatched
    assert [one for one in entries if one["log_level"] in ("error", "critical")] == []
    assert [one for one in entries if "exc_info" in one] == []
    assert any(one["event"] == "reply_unmatched" for one in entries), "the log is not captured"
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    await _nothing_is_kept_for_the_gateway(mosquitto)


def _nobody_was_moved(scene: Scene, after: dict[str, Command]) -> None:
    ended = {one: after[one].status for one in scene.ends}
    assert ended == scene.ends
    statuses = {one: after[one].status for one in scene.may_move}
    assert statuses == {one: scene.before[one].status for one in scene.may_move}
    late = {one: (after[one].status, after[one].response_code) for one in scene.late}
    assert late == {one: (Status.TIMED_OUT, code) for one, code in scene.late.items()}
    for one in scene.before.keys() - scene.ends.keys() - scene.may_move - scene.late.keys():
        assert after[one] == scene.before[one]
    flight = next(one for one in after.values() if one.job_key == "T-FIXTURE-001")
    assert flight.job is not None, "no report has reached its job"


async def _nothing_is_kept_for_the_gateway(broker: RunningBroker) -> None:
    """The broker gives a session what was never acknowledged in it before anything else."""
    identifier = Mqtt().client_id
    async with (
        _client(broker, identifier=identifier, clean_start=False) as session,
        _client(broker) as dock,
    ):
        await dock.publish("thing/product/last/events", b"{}", qos=1)
        first = await anext(session.messages)
        assert first.topic.value == "thing/product/last/events"
