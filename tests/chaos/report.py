"""What a run shows: a bar on a terminal, lines elsewhere, a table at the end."""

import json
import sys

from rich.console import Console
from rich.table import Table
from support.programs import Progress

from chaos.plan import Outcome, Plan

_MOST_SHOWN = 50
_LINES = 10


class Report(Progress):
    """Writes what happens to standard error, and what came of it to standard output.

    Args:
        plan: What is to be done.
        as_json: The outcome as one document.
        quiet: Nothing before the outcome.
    """

    def __init__(self, plan: Plan, *, as_json: bool = False, quiet: bool = False) -> None:
        super().__init__(plan.kills, quiet=quiet)
        self._plan = plan
        self._as_json = as_json

    def kill(self, kills: int, broker_restarts: int, accepted: int) -> None:
        """The server was killed once more."""
        text = f"{broker_restarts} broker restarts, {accepted} commands"
        if self.is_bar:
            self.done(kills, f"raging: {text}")
        elif kills * _LINES // self._plan.kills > (kills - 1) * _LINES // self._plan.kills:
            self.line(f"{kills} of {self._plan.kills} kills, {text}")

    def outcome(self, outcome: Outcome) -> None:
        """The end."""
        if self._as_json:
            sys.stdout.write(json.dumps(document(outcome)) + "\n")
            return
        console = Console(highlight=False, soft_wrap=True)
        table = Table(title=f"seed {outcome.plan.seed}, {outcome.seconds:.0f} s", show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in outcome.figures.items():
            table.add_row(name, f"{value:,}")
        table.add_row("violations", f"{len(outcome.violations):,}", style="bold")
        console.print(table)
        for violation in outcome.violations[:_MOST_SHOWN]:
            console.print(str(violation), markup=False)
        if len(outcome.violations) > _MOST_SHOWN:
            console.print(f"… and {len(outcome.violations) - _MOST_SHOWN} more")
        if outcome.folder is not None:
            console.print(f"database and logs are kept in {outcome.folder}", markup=False)


def document(outcome: Outcome) -> dict[str, object]:
    """The outcome for machines."""
    plan = outcome.plan
    return {
        "plan": {name: getattr(plan, name) for name in plan.__slots__},
        "seconds": round(outcome.seconds, 1),
        "figures": {name.strip(): value for name, value in outcome.figures.items()},
        "violations": [
            {"kind": one.kind, "command_id": one.command_id, "text": one.text}
            for one in outcome.violations
        ],
        "folder": None if outcome.folder is None else str(outcome.folder),
    }
