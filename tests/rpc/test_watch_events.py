"""WatchEvents over a real connection."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from google.protobuf import json_format
from support.clock import ManualClock
from support.records import NOW

from dockgate.dji.v1 import event_pb2
from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate.downlink.v1 import device_service_pb2_grpc as pb_grpc
from dockgate_server.codec import cursor, device_events
from dockgate_server.config import Grpc
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.events import EventWatching
from dockgate_server.fleet import Fleet
from dockgate_server.hub import Feed
from dockgate_server.model.event import NewEvent
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer
from dockgate_server.store.sqlite import SqliteStore

DATA: Any = {"n": 1, "f": -0.5, "b": True, "t": "ü", "no": None, "e": {}, "l": [1, [], {"x": 2}]}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Where events are."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        yield store


@pytest.fixture
def feed() -> Feed[Any]:
    """Wakes watchers."""
    return Feed()


@pytest.fixture
async def stub(store: SqliteStore, feed: Feed[Any]) -> AsyncIterator[Any]:
    """A client of a server that serves devices."""
    registry = Registry(store.devices, PresenceBook(ManualClock()))
    commands: Any = None  # not called here
    use_cases = {
        "fleet": Fleet(registry, StateBoard()),
        "events": EventWatching(store.events, feed, registry),
    }
    settings = Grpc(listen="127.0.0.1:0")
    async with (
        RpcServer(settings, commands, Health(), stop_seconds=5, **use_cases) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield pb_grpc.DeviceServiceStub(channel)
        feed.close()


@pytest.mark.parametrize("data", [DATA, [DATA], "", None, 3, False])
async def test_an_event_arrives_as_the_device_wrote_it(
    store: SqliteStore, feed: Feed[Any], stub: Any, data: object
) -> None:
    """Whatever its data is; the first message is a heartbeat with a cursor."""
    raw = orjson.dumps(data)
    new = NewEvent("dock-001", "hms", "T", "B", True, raw, NOW + 7)
    feed.publish(await store.events.record([new]))
    watch = stub.WatchEvents(pb.WatchEventsRequest(after=cursor.write(cursor.EVENTS, 0)), timeout=5)
    first = await watch.read()
    assert first.HasField("heartbeat")
    assert first.cursor
    update = await watch.read()
    event = update.event
    assert (event.gateway_id, event.method, event.tid, event.bid) == ("dock-001", "hms", "T", "B")
    assert (event.need_reply, event.received_at.ToMilliseconds()) == (True, NOW + 7)
    assert event.cursor == update.cursor == cursor.write(cursor.EVENTS, 1)
    assert json_format.MessageToDict(event.data) == data
    watch.cancel()


async def test_an_event_that_the_schema_knows_is_typed_as_well(
    store: SqliteStore, feed: Feed[Any], stub: Any
) -> None:
    """Beside its data, which has what the schema does not know; of others there is only that."""
    warning = {"level": 2, "code": "0x16100083", "newer": 1}
    told = [("hms", {"list": [warning]}), ("hms", "odd"), ("track", {"list": []})]
    for method, data in told:
        new = NewEvent("dock-001", method, "", "", False, orjson.dumps(data), NOW)
        feed.publish(await store.events.record([new]))
    watch = stub.WatchEvents(pb.WatchEventsRequest(after=cursor.write(cursor.EVENTS, 0)), timeout=5)
    await watch.read()
    events = [(await watch.read()).event for _ in told]
    watch.cancel()
    assert [json_format.MessageToDict(event.data) for event in events] == [one for _, one in told]
    typed, odd, unknown = events
    assert typed.WhichOneof("vendor_event") == "dji"
    (one,) = typed.dji.hms.list
    assert (one.level, one.code) == (event_pb2.HmsEvent.Warning.LEVEL_WARNING, "0x16100083")
    assert [event.WhichOneof("vendor_event") for event in (odd, unknown)] == [None, None]


async def test_many_who_watch_share_the_work_and_nothing_else(
    store: SqliteStore, feed: Feed[Any], stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event is read once for all of them; one that is large is not kept for that."""
    read: list[str] = []
    fill = device_events.fill
    monkeypatch.setattr(
        device_events, "fill", lambda method, *rest: (read.append(method), fill(method, *rest))
    )
    for method, text in (("shared", "x"), ("large", "x" * 10_000)):
        new = NewEvent("dock-001", method, "", "", False, orjson.dumps(text), NOW)
        feed.publish(await store.events.record([new]))
    request = pb.WatchEventsRequest(after=cursor.write(cursor.EVENTS, 0))
    for _ in range(3):
        watch = stub.WatchEvents(request, timeout=5)
        await watch.read()
        updates = [await watch.read() for _ in range(2)]
        assert [update.event.cursor for update in updates] == [one.cursor for one in updates]
        assert [update.event.method for update in updates] == ["shared", "large"]
        watch.cancel()
    assert sorted(read) == ["large", "large", "large", "shared"]


async def test_a_refusal_names_its_reason(stub: Any) -> None:
    """Like every other call."""
    watch = stub.WatchEvents(pb.WatchEventsRequest(device_id="nobody"), timeout=5)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch.read()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
