"""What a dock asks before take-off and about flights."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.records import NOW, a_reply, an_accept

from dockgate_server.config.providers import OfferedFile, Takeoff
from dockgate_server.model.command import FailureCode, Job, JobState
from dockgate_server.model.device_request import Asked
from dockgate_server.model.transitions import (
    Cancel,
    Expire,
    RecordJob,
    RecordReply,
    Refuse,
    TakeBack,
)
from dockgate_server.providers.files import Files
from dockgate_server.providers.flights import Flights
from dockgate_server.store.sqlite import SqliteStore

FILE = {"url": "https://files.example/1.kmz?signature=x", "fingerprint": "abc"}
OTHER = "https://files.example/other.kmz"

Change = Callable[[SqliteStore], Awaitable[None]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        yield store


async def _ask(provider: Files | Flights, method: str, data: Any = None) -> dict[str, Any] | None:
    answer = await provider.by_method()[method](Asked("dock-001", method, "t1", "b1", data))
    return None if answer is None else dict(answer.data)


async def test_without_files_the_answer_is_that_there_are_none() -> None:
    """At once, so that a take-off does not wait for it."""
    files = Files(Takeoff())
    assert await _ask(files, "flight_areas_get") == {"result": 0, "output": {"files": []}}
    assert await _ask(files, "offline_map_get") == {
        "result": 0,
        "output": {"offline_map_enable": False, "files": []},
    }


async def test_files_are_those_of_the_settings() -> None:
    """Each kind has its own."""
    one = {"name": "a.json", "url": "https://files.example/a", "checksum": "aa", "size": 12}
    two = {"name": "b.zip", "url": "https://files.example/b", "checksum": "bb", "size": 0}
    files = Files(Takeoff(flight_areas=(OfferedFile(**one),), offline_maps=(OfferedFile(**two),)))  # type: ignore[arg-type]
    assert await _ask(files, "flight_areas_get") == {"result": 0, "output": {"files": [one]}}
    assert await _ask(files, "offline_map_get") == {
        "result": 0,
        "output": {"offline_map_enable": True, "files": [two]},
    }


async def _flight(store: SqliteStore, method: str, key: str = "k", **changed: Any) -> str:
    values = {"command_type": method, "job_key": "f-1", "sending": True, **changed}
    return (await store.accept(an_accept(key, **values))).command.id


async def _prepared(store: SqliteStore, key: str, url: str = FILE["url"], **changed: Any) -> str:
    data = orjson.dumps({"flight_id": "f-1", "file": {**FILE, "url": url}, "task_type": 0})
    return await _flight(store, "flighttask_prepare", key, data=data, **changed)


async def _route(store: SqliteStore) -> dict[str, Any] | None:
    return await _ask(Flights(store.sources), "flighttask_resource_get", {"flight_id": "f-1"})


async def _refused(store: SqliteStore, command_id: str) -> None:
    await store.apply(RecordReply(a_reply(command_id, {"result": 316001})))


async def test_the_route_is_the_one_that_was_submitted(store: SqliteStore) -> None:
    """The last one, where a flight was prepared twice."""
    await _prepared(store, "k1", OTHER)
    await _prepared(store, "k2")
    assert await _route(store) == {"result": 0, "output": {"file": FILE}}


async def test_the_route_of_a_message_that_may_have_arrived_is_given(store: SqliteStore) -> None:
    """Nobody was heard of it; but the dock that asks for its file has evidently got it."""
    command_id = await _prepared(store, "k")
    await store.apply(Expire((command_id,), NOW + 30_000))
    assert await _route(store) == {"result": 0, "output": {"file": FILE}}


async def _withdraw(store: SqliteStore) -> None:
    command_id = await _prepared(store, "k2", OTHER, sending=False)
    await store.apply(Cancel(command_id, NOW))


async def _keep_waiting(store: SqliteStore) -> None:
    await _prepared(store, "k2", OTHER, sending=False)


async def _take_back(store: SqliteStore) -> None:
    command_id = await _prepared(store, "k2", OTHER)
    await store.apply(TakeBack((command_id,), "nobody listens", NOW))


async def _let_expire(store: SqliteStore) -> None:
    command_id = await _prepared(store, "k2", OTHER, sending=False)
    await store.apply(Expire((command_id,), NOW + 30_000))


async def _let_the_dock_refuse(store: SqliteStore) -> None:
    await _refused(store, await _prepared(store, "k2", OTHER))


async def _let_the_gateway_refuse(store: SqliteStore) -> None:
    command_id = await _prepared(store, "k2", OTHER)
    await store.apply(Refuse(command_id, FailureCode.DEVICE_OFFLINE, "away", NOW))


IN_VAIN = pytest.mark.parametrize(
    "prepare_in_vain",
    [
        _withdraw,
        _keep_waiting,
        _take_back,
        _let_expire,
        _let_the_dock_refuse,
        _let_the_gateway_refuse,
    ],
)


@IN_VAIN
async def test_a_route_that_the_dock_has_not_taken_is_not_given(
    store: SqliteStore, prepare_in_vain: Change
) -> None:
    """The dock would fly what was withdrawn, never sent, or refused."""
    await prepare_in_vain(store)
    assert await _route(store) is None


@IN_VAIN
async def test_a_route_holds_until_the_dock_takes_another(
    store: SqliteStore, prepare_in_vain: Change
) -> None:
    """What came later, in vain, does not take its place."""
    await _prepared(store, "k1")
    await prepare_in_vain(store)
    assert await _route(store) == {"result": 0, "output": {"file": FILE}}


@pytest.mark.parametrize(
    "changed",
    [
        {"gateway_id": "dock-002"},
        {"tenant": "another"},
        {"job_key": "f-2"},
        {"command_type": "flighttask_execute"},
        {"data": b"null"},
        {"data": b'{"file":{"url":""}}'},
    ],
)
async def test_a_route_that_is_not_known_is_not_made_up(
    store: SqliteStore, changed: dict[str, Any]
) -> None:
    """That of another dock, tenant, flight or method is none."""
    values = {"data": orjson.dumps({"flight_id": "f-1", "file": FILE}), **changed}
    await _flight(store, values.pop("command_type", "flighttask_prepare"), **values)
    flights = Flights(store.sources)
    for data in ({"flight_id": "f-1"}, {"flight_id": ""}, {"flight_id": 1}, None):
        assert await _ask(flights, "flighttask_resource_get", data) is None


async def _flown(
    store: SqliteStore, job: Job, gateway: str = "dock-001", flight: str = "f-1"
) -> None:
    await _flight(store, "flighttask_execute", flight, gateway_id=gateway, job_key=flight)
    await store.apply(RecordJob(gateway, ("flighttask_execute",), flight, job))


@pytest.mark.parametrize(
    "data",
    [
        {"flight_id": "f-1"},
        {"target_sn": "dock-001", "flight_id": "f-1"},
        {"sn": "dock-001"},
        None,
    ],
)
async def test_progress_is_that_of_the_job(store: SqliteStore, data: Any) -> None:
    """In DJI's words, by whichever names the question has."""
    await _flown(store, Job(JobState.IN_PROGRESS, 1, 40, "25"))
    assert await _ask(Flights(store.sources), "flighttask_progress_get", data) == {
        "result": 0,
        "output": {
            "flight_id": "f-1",
            "progress": {"current_step": 25, "percent": 40},
            "status": "in_progress",
        },
    }


async def test_progress_may_be_that_of_another_dock(store: SqliteStore) -> None:
    """Two docks may share a flight."""
    await _flown(store, Job(JobState.PAUSED, 1, 10, "by name"), "dock-002")
    for data in ({"sn": "dock-002"}, {"target_sn": "dock-002", "flight_id": "f-1"}):
        answer = await _ask(Flights(store.sources), "flighttask_progress_get", data)
        assert answer is not None
        assert answer["output"]["status"] == "paused"
        assert answer["output"]["progress"] == {"current_step": 0, "percent": 10}


async def test_a_flight_that_the_dock_refuses_does_not_hide_the_one_that_flies(
    store: SqliteStore,
) -> None:
    """A second execute of the same flight, or of another one, has started nothing."""
    await _flown(store, Job(JobState.IN_PROGRESS, 1, 40, "25"))
    await _refused(store, await _flight(store, "flighttask_execute", "again"))
    await _refused(store, await _flight(store, "flighttask_execute", "f-2", job_key="f-2"))
    await _flight(store, "flighttask_execute", "waits", sending=False)
    for data in ({"flight_id": "f-1"}, None):
        answer = await _ask(Flights(store.sources), "flighttask_progress_get", data)
        assert answer is not None
        assert answer["output"]["flight_id"] == "f-1"
        assert answer["output"]["progress"]["percent"] == 40


async def test_without_a_flight_there_is_no_progress(store: SqliteStore) -> None:
    """Nor of one whose dock has fallen silent: nobody knows."""
    flights = Flights(store.sources)
    assert await _ask(flights, "flighttask_progress_get", {"sn": "dock-001"}) is None
    assert await _ask(flights, "flighttask_progress_get", {"sn": "dock/#"}) is None
    await _flown(store, Job(JobState.STALLED, 1, 10))
    assert await _ask(flights, "flighttask_progress_get", {"flight_id": "f-1"}) is None
