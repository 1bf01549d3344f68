"""What a dock asks before take-off and about flights."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.records import an_accept

from dockgate_server.config.providers import OfferedFile, Takeoff
from dockgate_server.model.command import Job, JobState
from dockgate_server.model.device_request import Asked
from dockgate_server.model.transitions import RecordJob
from dockgate_server.providers.files import Files
from dockgate_server.providers.flights import Flights
from dockgate_server.store.sqlite import SqliteStore

FILE = {"url": "https://files.example/1.kmz?signature=x", "fingerprint": "abc"}


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


async def _flight(store: SqliteStore, method: str, key: str = "k", **changed: Any) -> None:
    values = {"command_type": method, "job_key": "f-1", **changed}
    await store.accept(an_accept(key, **values))


async def test_the_route_is_the_one_that_was_submitted(store: SqliteStore) -> None:
    """The last one, where a flight was prepared twice."""
    for key, url in (("k1", "https://files.example/0.kmz"), ("k2", FILE["url"])):
        data = orjson.dumps({"flight_id": "f-1", "file": {**FILE, "url": url}, "task_type": 0})
        await _flight(store, "flighttask_prepare", key, data=data)
    answer = await _ask(Flights(store.sources), "flighttask_resource_get", {"flight_id": "f-1"})
    assert answer == {"result": 0, "output": {"file": FILE}}


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


async def test_without_a_flight_there_is_no_progress(store: SqliteStore) -> None:
    """Nor of one whose dock has fallen silent: nobody knows."""
    flights = Flights(store.sources)
    assert await _ask(flights, "flighttask_progress_get", {"sn": "dock-001"}) is None
    assert await _ask(flights, "flighttask_progress_get", {"sn": "dock/#"}) is None
    await _flown(store, Job(JobState.STALLED, 1, 10))
    assert await _ask(flights, "flighttask_progress_get", {"flight_id": "f-1"}) is None
