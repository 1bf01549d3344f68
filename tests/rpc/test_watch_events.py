"""WatchEvents over a real connection."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from google.protobuf import json_format
from support.records import NOW

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate.downlink.v1 import device_service_pb2_grpc as pb_grpc
from dockgate_server.clock import ManualClock
from dockgate_server.codec import cursor
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


async def test_a_refusal_names_its_reason(stub: Any) -> None:
    """Like every other call."""
    watch = stub.WatchEvents(pb.WatchEventsRequest(device_id="nobody"), timeout=5)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await watch.read()
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
