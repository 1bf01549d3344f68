"""Reading a device's report on a job."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockgate_server.model.command import Job, JobState
from dockgate_server.model.job import read_job


def test_a_commands_report_has_percent_and_step_key() -> None:
    """The form of the command pages."""
    data = {
        "output": {"progress": {"percent": 40, "step_key": "check_cover"}, "status": "in_progress"},
        "result": 0,
    }
    assert read_job(data, 7) == Job(JobState.IN_PROGRESS, 7, 40, "check_cover", 0)


def test_a_flights_report_numbers_its_steps() -> None:
    """The numbers mean different things on different docks, so they are kept as text."""
    data = {
        "output": {
            "ext": {"flight_id": "F1"},
            "progress": {"current_step": 25, "percent": 100},
            "status": "partially_done",
        },
        "result": 314004,
    }
    assert read_job(data, 7) == Job(JobState.PARTIALLY_DONE, 7, 100, "25", 314004)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("wayline_progress", JobState.IN_PROGRESS),
        ("wayline_ok", JobState.OK),
        ("wayline_failed", JobState.FAILED),
        ("wayline_cancel", JobState.CANCELED),
        ("task_finish", JobState.OK),
        ("switch_fail", JobState.FAILED),
    ],
)
def test_flat_reports_with_words_of_their_own_are_read(status: str, state: JobState) -> None:
    """Pointing flights and flight areas report beside the result, not in output."""
    assert read_job({"status": status, "result": 0}, 7) == Job(state, 7, result=0)


def test_an_in_flight_wayline_counts_its_states() -> None:
    """Its event has numbers where the others have words."""
    data = {"in_flight_wayline_id": "w", "status": 3, "progress": {"percent": 40}, "result": 0}
    assert read_job(data, 7) == Job(JobState.IN_PROGRESS, 7, 40, result=0)
    assert read_job({**data, "status": 99}, 7) is None


@pytest.mark.parametrize("state", JobState)
def test_every_state_is_read_in_djis_spelling(state: JobState) -> None:
    """Lower case, in any other case too."""
    for word in (state.lower(), state.upper(), state.title()):
        assert read_job({"output": {"status": word}}, 7) == Job(state, 7)


@pytest.mark.parametrize(
    "data",
    [
        *(None, "", [], 5, {}, {"output": None}, {"output": []}, {"output": {}}),
        *({"output": {"status": status}} for status in (None, 3, "", "flying", ["ok"], "o k")),
        {"status": "sailing"},
        {"status": 6},
    ],
)
def test_what_names_no_state_is_no_report(data: object) -> None:
    """An answer without one is an answer and no more."""
    assert read_job(data, 7) is None


@pytest.mark.parametrize(
    ("percent", "read"),
    [(0, 0), (100, 100), (101, 100), (-5, 0), ("40", 40), (40.0, 40), (1.5, None), (None, None),
     (True, None), ([], None)],
)  # fmt: skip
def test_percent_is_between_0_and_100_or_not_known(percent: object, read: int | None) -> None:
    """Devices round, and some count beyond."""
    job = read_job({"output": {"status": "ok", "progress": {"percent": percent}}}, 7)
    assert job is not None
    assert job.percent == read


@pytest.mark.parametrize(
    ("progress", "step"),
    [
        ({"step_key": "a", "current_step": 3}, "a"),
        ({"current_step": 0}, "0"),
        ({"step_key": "x" * 500}, "x" * 100),
        ({"step_key": {"a": 1}}, ""),
        ({"step_key": None}, ""),
        ({"step_key": True}, ""),
        ([], ""),
    ],
)
def test_a_step_is_kept_as_text(progress: object, step: str) -> None:
    """Of a length that fits on a screen."""
    job = read_job({"output": {"status": "ok", "progress": progress}}, 7)
    assert job is not None
    assert job.step == step


VALUES: Any = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
MAPS = st.dictionaries(
    st.sampled_from(["status", "progress", "percent", "step_key", "current_step", "result"]),
    VALUES | st.lists(VALUES, max_size=2),
)


@given(output=MAPS, progress=MAPS, result=VALUES, state=st.sampled_from(JobState))
def test_what_is_read_can_be_stored(
    output: dict[str, object], progress: dict[str, object], result: object, state: JobState
) -> None:
    """Whatever a device reports, its numbers fit into JSON and into the schema."""
    output = {**output, "status": state.lower(), "progress": progress}
    job = read_job({"output": output, "result": result}, 7)
    assert job is not None
    orjson.dumps(job)
    assert job.result is None or -(2**63) <= job.result < 2**63
