"""Each guard in the SQL is needed: without it the simulation finds something wrong."""

from unittest.mock import patch

import pytest

from dockgate_server.store.sqlite.queries import COMMANDS
from simulation import history
from simulation.guards import Guard, all_guards

LIVES = 120
MOST_SEEDS = 60

EMPHASIS = {
    "change asked for twice": 40.0,
    "cancel": 8.0,
    "disk failed": 8.0,
    "control stream": 6.0,
    "dock went away": 3.0,
    "job fell silent": 5.0,
    "publish refused": 10.0,
    "PUBACK late": 8.0,
    "reply at the deadline": 10.0,
    "reply twice": 3.0,
    "reply without end": 20.0,
    "reply without result": 4.0,
    "slow disk": 10.0,
    "report at the last moment": 20.0,
}
"""Faults that bring guards into play strike more often than usual."""

EMPHASIS_OF = {
    # Nobody listened, but that is heard only when the deadline has passed.
    "take_back": {"PUBACK late": 25.0, "gateway killed": 0.2, "connection broke": 0.3},
    # A report comes just when its job is found to have stalled; many jobs must get so far.
    "stall_job": {
        "report at the last moment": 30.0,
        "job fell silent": 0.2,
        "reply without end": 1.0,
        "reply without result": 0.5,
        "publish refused": 1.0,
    },
}
"""For single changes."""

IMPLIED = {
    "record_late_reply: status NOT IN ('ACCEPTED', 'DELIVERED')": (
        "asked only where end_by_reply has just refused, in the same transaction"
    ),
    "note_reply: status NOT IN ('ACCEPTED', 'DELIVERED')": (
        "asked only where end_by_reply or end_unmatched has just refused, in the same transaction"
    ),
    "stall_job: status = 'SUCCEEDED'": (
        "asked only of commands that were seen to succeed, and an end never changes"
    ),
}
"""Guards that another one implies, with the reason; tests/store/test_guards.py tries each alone."""

GUARDS = all_guards()


def test_the_guards_are_found() -> None:
    """Of every change that the SQL makes; a new one joins by itself."""
    changes = {
        name for name, sql in COMMANDS.items() if "UPDATE command" in sql or "ON CONFLICT" in sql
    }
    assert {guard.query for guard in GUARDS} == changes
    by_name = {str(guard) for guard in GUARDS}
    assert "begin_sending: sending_at IS NULL" in by_name
    assert "insert_command: ON CONFLICT (tenant, idempotency_key) DO NOTHING" in by_name
    assert set(IMPLIED) <= by_name


@pytest.mark.parametrize("guard", [g for g in GUARDS if str(g) not in IMPLIED], ids=str)
def test_without_a_guard_something_is_found_to_be_wrong(guard: Guard) -> None:
    """An error of a constraint behind it counts as well: it is logged, and the fact is lost."""
    emphasis = EMPHASIS | EMPHASIS_OF.get(guard.query, {})
    with patch.dict(COMMANDS, {guard.query: guard.without}):
        histories = (history.run(seed, LIVES, emphasis=emphasis) for seed in range(MOST_SEEDS))
        assert any(one.violations for one in histories)


def test_with_all_guards_the_same_histories_are_right() -> None:
    """What is found above is the missing guard, and nothing else."""
    histories = (history.run(seed, LIVES, emphasis=EMPHASIS) for seed in range(4))
    assert [one.violations for one in histories] == [[]] * 4
