"""What the numbers of jobs and events mean."""

import re
from importlib import resources

import pytest

from dockgate.dji.v1 import wayline_pb2
from dockgate_server.codec import catalogue, job_words
from dockgate_server.model.command import Job, JobState

_BREAK_POINT = wayline_pb2.FlighttaskProgressEvent.Output.Ext.BreakPoint


def table(name: str) -> list[list[str]]:
    """The rows of a table that goes with the codec."""
    folder = resources.files("dockgate_server.codec")
    return [line.split("\t") for line in folder.joinpath(name).read_text("utf-8").splitlines()]


def a_job(**values: object) -> Job:
    """One that goes on."""
    return Job(JobState.IN_PROGRESS, 1, **values)  # type: ignore[arg-type]


def test_the_schema_has_a_name_for_each_reason_that_has_words() -> None:
    """And the other way round; 0 says that nothing was broken off."""
    numbers = {int(number) for number, _ in table("break_reasons.tsv")}
    assert numbers == set(_BREAK_POINT.BreakReason.values()) - {0}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("0", "Initial state"),
        ("7", "Pre-flight check and cover opening"),
        ("8", "Remote link pairing (Dock 2 and 3) or Waiting for flight system (first Dock)"),
        ("49", "Offline map updating"),
        ("65535", "Unknown"),
        ("50", ""),
        ("", ""),
        ("open_cover", ""),
    ],
)
def test_a_step_of_a_flight_has_words(step: str, words: str) -> None:
    """Those of both numberings where they differ: the number does not say which dock it is."""
    assert job_words.step("flighttask_execute", a_job(step=step)) == words


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("3-1-0", "Waiting for flight system"),
        ("3-2-0", "Remote link pairing"),
        ("3-3-0", "Remote link pairing"),
        ("3-10-0", "Remote link pairing"),
    ],
)
def test_a_step_is_told_in_the_words_of_the_dock_where_that_is_known(
    model: str, words: str
) -> None:
    """And in no others'."""
    assert job_words.step("flighttask_execute", a_job(step="8"), model) == words
    assert job_words.step("flighttask_execute", a_job(step="7"), model) == (
        "Pre-flight check and cover opening"
    )


@pytest.mark.parametrize("command_type", ["charge_open", "fileupload_start", "newer_method"])
def test_the_numbers_of_flights_mean_nothing_elsewhere(command_type: str) -> None:
    """Nor those of a method that the schema does not have."""
    assert job_words.step(command_type, a_job(step="7")) == ""


def test_the_table_of_steps_is_whole() -> None:
    """Known events, each number once, and words without leftovers of a page."""
    rows = table("steps.tsv")
    assert {event for event, *_ in rows} <= catalogue.EVENTS.keys()
    keys = [(event, int(number)) for event, number, *_ in rows]
    assert len(set(keys)) == len(keys) == 56
    for *_, words, on_dock1 in rows:
        assert words
        assert all(one == one.strip() for one in (words, on_dock1))
        assert not re.search(r"[^\x20-\x7e]", words + on_dock1)
