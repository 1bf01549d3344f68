"""Some histories with every fault there is; ``make sim`` lets a million commands live."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest

from dockgate_server.store.sqlite.queries import COMMANDS
from simulation import __main__ as command_line
from simulation import history

LIVES = 300

EVERYWHERE = (
    *("gateway killed", "gateway stopped", "disk failed", "slow disk", "wall clock stepped"),
    *("connection broke", "broker restarted", "nobody listened", "publish refused", "PUBACK late"),
    *("dock went away", "dock silent", "message expired", "message redelivered", "reply late"),
    *("reply twice", "reply by another method", "reply by another gateway", "cancel"),
    *("submitted again", "watch left", "job fell silent", "change asked for twice"),
)
"""Faults that are so frequent that a few histories have them all."""


@pytest.fixture(scope="module")
def outcomes() -> list[history.Outcome]:
    """Eight histories."""
    return [history.run(seed, LIVES) for seed in range(1, 9)]


def test_whatever_goes_wrong_nothing_is_lost_repeated_or_untrue(
    outcomes: list[history.Outcome],
) -> None:
    """A seed that fails here fails the same way by itself."""
    assert {one.seed: one.violations for one in outcomes if one.violations} == {}
    assert all(one.lives >= LIVES for one in outcomes)


def test_everything_goes_wrong(outcomes: list[history.Outcome]) -> None:
    """A simulation in which nothing happens proves nothing."""
    faults: Counter[str] = sum((one.faults for one in outcomes), Counter())
    assert [fault for fault in EVERYWHERE if not faults[fault]] == []
    ends: Counter[str] = sum((one.ends for one in outcomes), Counter())
    assert ends["SUCCEEDED"] > ends.total() / 3
    assert all(one.publishes and one.starts for one in outcomes)


def test_a_seed_gives_the_same_history_to_the_last_step() -> None:
    """Or a failing one could not be looked at."""
    first, again, other = (history.run(seed, 200, tracing=True) for seed in (301, 301, 22))
    assert first.trace
    assert first.trace == again.trace
    assert first.trace != other.trace


def test_neither_addresses_nor_hashes_of_a_process_matter() -> None:
    """Sets of texts have another order in every process; nothing may depend on it."""
    asked = ["-m", "simulation", "--seed", "23", "--lives-per-seed", "60", "--trace"]
    tests = Path(__file__).parents[1]
    shown = set()
    for number in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": str(tests)}
        done = subprocess.run(
            [sys.executable, *asked], env=environment, capture_output=True, text=True, check=True
        )
        shown.add(done.stdout)
    (trace,) = shown
    assert "60 lives" not in trace.splitlines()[0]
    assert trace.count("\n") > 500


def test_the_command_line_counts_and_says_how_to_repeat(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For machines as well."""
    asked = ["--seeds", "2", "--lives-per-seed", "30", "--jobs", "1"]
    assert command_line.main([*asked, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["seeds"] == 2
    assert figures["lives"] >= 60
    assert figures["violations"] == {}

    asked_for = "id IN (SELECT value FROM json_each(:ids)) AND"
    broken = COMMANDS["begin_sending"].replace(asked_for, "")
    with patch.dict(COMMANDS, {"begin_sending": broken}):
        assert command_line.main(asked) == 1
    shown = capsys.readouterr().out
    for seed in (1, 2):
        assert f"python -m simulation --seed {seed} --lives-per-seed 30 --trace" in shown
    assert shown.endswith("violations            2\n")
