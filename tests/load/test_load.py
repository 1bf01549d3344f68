"""The load test in small, each scene with the real server; and what judges the large one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import brokers

from load import run
from load.__main__ import main
from load.database import Left, gateway, mixture
from load.plan import Outcome, Plan, Result
from load.report import Report
from load.scenes import SCENES, codes_due, order_problems, to_be_sent

SMALL = Plan(
    commands=2000,
    gateways=10,
    waiting=500,
    # Other tests want the machine too. What grows with the square is beyond these all the same.
    serving_seconds=20,
    late_seconds=5,
    submit_seconds=5,
    end_microseconds=5000,
    send_microseconds=10_000,
)


@pytest.mark.broker
@pytest.mark.parametrize("scene", SCENES)
async def test_a_scene_in_small_keeps_to_its_limits(scene: str) -> None:
    """`make load` does it with 100,000 commands and sharper limits."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    outcome = await run.run(SMALL, [scene], Report(quiet=True))
    (result,) = outcome.results
    assert result.problems == [], outcome.folder
    assert [one for one in result.figures if one.is_missed] == [], outcome.folder
    assert outcome.is_good


def the_mixture() -> list[Left]:
    """Forty commands to two docks."""
    return list(mixture(40, 2, deadline_at=2_000_000_000_000))


def test_the_mixture_has_every_kind_of_open_command_for_every_gateway() -> None:
    """Delivered ones first, then what may have been sent, then what waits."""
    for gateway_id in (gateway(0), gateway(1)):
        mine = [one for one in the_mixture() if one.accept.gateway_id == gateway_id]
        kinds = [one.delivered + one.accept.sending for one in mine]
        assert kinds == [2] * 5 + [1] + [0] * 14


def test_what_is_to_be_sent_is_all_that_was_not_and_what_is_safe_to_repeat_behind_nothing() -> None:
    """In the order accepted."""
    left = the_mixture()
    ids = [one.accept.id for one in left if one.accept.gateway_id == gateway(0)]
    assert to_be_sent(left)[gateway(0)] == ids[5:]
    # Not safe to repeat, or with the dock already.
    for changed in (
        replace(left[10], accept=left[10].accept._replace(command_type="flight_setup_abort")),
        replace(left[10], delivered=True),
    ):
        assert to_be_sent([*left[:10], changed, *left[11:]])[gateway(0)] == ids[6:]


@pytest.mark.parametrize(
    ("came", "problem"),
    [
        (["a", "b", "c"], None),
        (["a", "c", "b"], "got 3 commands where 3 were due; they differ from number 2 on"),
        (["a", "b"], "got 2 commands where 3 were due; they differ from number 3 on"),
        (["a", "a", "b", "c"], "got 4 commands where 3 were due; they differ from number 2 on"),
        (["a", "b", "c", "c"], "got 4 commands where 3 were due; they differ from number 4 on"),
    ],
)
def test_a_dock_must_get_exactly_what_is_due_in_order(came: list[str], problem: str | None) -> None:
    """Nothing overtaken, missing, or twice."""
    problems = order_problems({"dock": ["a", "b", "c"]}, {"dock": came})
    assert problems == ([] if problem is None else [f"dock {problem}"])


def test_a_dock_must_not_get_what_nobody_sent() -> None:
    """Nor a dock of which nothing was known."""
    (problem,) = order_problems({}, {"dock": ["a"]})
    assert problem.startswith("dock got 1 commands where 0 were due")


def test_the_codes_that_are_due_say_how_far_each_command_had_come() -> None:
    """As the lifecycle has it."""
    due = {"RESPONSE_TIMEOUT": 10, "OUTCOME_UNKNOWN": 2, "DELIVERY_TIMEOUT": 28}
    assert codes_due(the_mixture()) == due


def shown(seconds: float = 0.25, problems: tuple[str, ...] = ()) -> Outcome:
    """What came of a run of one scene."""
    result = Result("recovery", problems=list(problems))
    result.show("serving after", 2.5, "s", limit=5)
    result.show_times("answer", [0.001, 0.002, 0.003, seconds], limit=0.5)
    good = result.is_good
    return Outcome(SMALL, [result], None if good else Path("kept"), 12.0)


def test_the_worst_of_all_times_is_judged() -> None:
    """Not the median, nor a percentile."""
    good, bad = shown(), shown(0.501)
    values = [(one.name, one.value, one.is_missed) for one in bad.results[0].figures]
    assert values == [
        ("serving after", 2.5, False),
        ("answer, p50", 2, False),
        ("answer, p99", 501, False),
        ("answer, most", 501, True),
    ]
    assert (good.is_good, bad.is_good) == (True, False)
    assert not shown(problems=("something",)).is_good


def test_a_scene_without_a_single_call_is_not_good() -> None:
    """Nothing measured is nothing shown."""
    result = Result("recovery")
    result.show_times("answer", [])
    assert not result.is_good


def test_the_outcome_is_a_table_and_a_line_for_each_problem(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is missed says so, and the folder to look into is named."""
    report = Report()
    with report:
        report.scene("recovery")
        report.phase("sending", 10)
        report.done(10)
        report.outcome(shown(0.6, ("out of order",)))
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "recovery"
    assert any("serving after" in line and "at most 5" in line for line in lines)
    assert any("answer, most" in line and "missed: at most 500" in line for line in lines)
    assert lines[-3:] == ["problem: out of order", "12 s", "databases and logs are kept in kept"]
    assert err == "recovery: sending …\n"


def test_the_outcome_for_machines_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures with their limits, problems, and with what it was run."""
    Report(as_json=True).outcome(shown(0.6))
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["good"], told["plan"]["commands"], told["folder"]) == (False, 2000, "kept")
    assert told["scenes"]["recovery"]["figures"][-1] == {
        "name": "answer, most",
        "value": 600,
        "unit": "ms",
        "limit": 500,
        "missed": True,
    }


@pytest.mark.parametrize(
    "arguments", [("--commands", "0"), ("--waiting", "none"), ("--what",), ("flying",)]
)
def test_a_wrong_argument_is_said(
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is started."""
    monkeypatch.setattr("sys.argv", ["load", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]
