"""The crash test in small, with everything that the large one has."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import brokers

from chaos import run
from chaos.evidence import Violation
from chaos.plan import Outcome, Plan
from chaos.report import Report

TESTS = Path(__file__).parents[1]
SMALL = Plan(kills=4, broker_restarts=1, docks=2, longest_timeout=3, calm_seconds=1)


def need_mosquitto() -> None:
    """Other brokers have neither expiry nor reasons."""
    if brokers.binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")


@pytest.mark.broker
async def test_every_promise_is_kept_over_kills_and_a_restart_of_the_broker() -> None:
    """With the real server, killed at random under load: `make chaos` does it 200 times."""
    need_mosquitto()

    outcome = await run.run(SMALL, Report(SMALL, quiet=True))

    assert [str(violation) for violation in outcome.violations] == [], outcome.folder
    shown = outcome.figures
    assert (shown["server kills"], shown["broker restarts, polite"]) == (4, 1)
    # It was not quiet only because nothing happened.
    assert shown["commands accepted"] > 50
    assert shown["  SUCCEEDED"] > 20
    assert shown["publishes"] > 50
    assert shown["  resumed"] > 0


def chaos(*arguments: str) -> "subprocess.Popen[str]":
    """The program."""
    paths = (str(TESTS), os.environ.get("PYTHONPATH", ""))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "chaos", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
    )


def children_of(parent: int) -> list[int]:
    """The processes that it has started."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, ppid in pairs if int(ppid) == parent]


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.broker
def test_ctrl_c_ends_all_children() -> None:
    """Broker, server and docks; it leaves nothing behind."""
    need_mosquitto()
    with chaos("--docks", "1") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("raging"):
                break
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err.endswith("interrupted; all processes have ended\n")
    assert len(children) >= 3
    assert not [pid for pid in children if is_alive(pid)]


@pytest.mark.parametrize(
    "arguments", [("--kills", "0"), ("--rate", "none"), ("--docks", "-1"), ("--what",)]
)
def test_a_wrong_argument_is_said(arguments: tuple[str, ...]) -> None:
    """Before anything is started."""
    with chaos(*arguments) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert arguments[0] in err.splitlines()[-1]


def outcome_with(violations: list[Violation]) -> Outcome:
    """What came of a run."""
    folder = Path("kept") if violations else None
    return Outcome(SMALL, {"server kills": 4}, violations, folder, 12.0)


VIOLATION = Violation("published twice", "c-1", "cover_open [x], published 2 times")


def test_the_outcome_is_a_table_and_a_line_for_each_violation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each names its command, and the folder to look into is named."""
    report = Report(SMALL)
    with report:
        report.phase("raging")
        report.kill(2, 1, 50)
        report.outcome(outcome_with([VIOLATION]))
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert any("server kills" in line and "4" in line for line in lines)
    assert lines[-2:] == [
        "published twice: c-1: cover_open [x], published 2 times",
        "database and logs are kept in kept",
    ]
    assert err == "raging …\n2 of 4 kills, 1 broker restarts, 50 commands\n"


@pytest.mark.parametrize("violations", [[], [VIOLATION]])
def test_the_outcome_for_machines_is_one_document(
    capsys: pytest.CaptureFixture[str], violations: list[Violation]
) -> None:
    """Figures, violations, and with what it was run."""
    Report(SMALL, as_json=True).outcome(outcome_with(violations))
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["plan"]["kills"] == 4
    assert told["figures"] == {"server kills": 4}
    assert [one["command_id"] for one in told["violations"]] == [
        one.command_id for one in violations
    ]
    assert (told["folder"] is None) is (not violations)
