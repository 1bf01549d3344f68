"""What a run shows: a bar on a terminal, lines elsewhere, a table for each scene at the end."""

import json
import sys
from dataclasses import fields

from rich.console import Console
from rich.table import Table
from support.programs import Progress, shown

from load.plan import Figure, Outcome, Result

_MOST_SHOWN = 20


class Report(Progress):
    """Writes what happens to standard error, and what came of it to standard output.

    Args:
        as_json: The outcome as one document.
        quiet: Nothing before the outcome.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._as_json = as_json
        self._scene = ""

    def scene(self, name: str) -> None:
        """Another scene begins."""
        self._scene = name

    def phase(self, text: str, total: int | None = None) -> None:
        """Something else begins, with so many steps."""
        super().phase(f"{self._scene}: {text}")
        self.begin(total)

    def outcome(self, outcome: Outcome) -> None:
        """The end."""
        if self._as_json:
            sys.stdout.write(json.dumps(document(outcome)) + "\n")
            return
        console = Console(highlight=False, soft_wrap=True)
        for result in outcome.results:
            self._show(console, result)
        console.print(f"{outcome.seconds:.0f} s")
        if outcome.folder is not None:
            console.print(f"databases and logs are kept in {outcome.folder}", markup=False)

    def _show(self, console: Console, result: Result) -> None:
        table = Table(title=result.scene, title_justify="left", show_header=False)
        for justify in ("left", "right", "left", "left"):
            table.add_column(justify=justify)
        for figure in result.figures:
            style = "bold red" if figure.is_missed else None
            table.add_row(
                figure.name, shown(figure.value), figure.unit, _limit(figure), style=style
            )
        console.print(table)
        for problem in result.problems[:_MOST_SHOWN]:
            console.print(f"problem: {problem}", markup=False)
        if len(result.problems) > _MOST_SHOWN:
            console.print(f"… and {len(result.problems) - _MOST_SHOWN} more")


def document(outcome: Outcome) -> dict[str, object]:
    """The outcome for machines."""
    plan = outcome.plan
    return {
        "plan": {one.name: getattr(plan, one.name) for one in fields(plan)},
        "seconds": round(outcome.seconds, 1),
        "good": outcome.is_good,
        "scenes": {
            result.scene: {
                "figures": [
                    {
                        "name": one.name.strip(),
                        "value": round(one.value, 3),
                        "unit": one.unit,
                        "limit": one.limit,
                        "missed": one.is_missed,
                    }
                    for one in result.figures
                ],
                "problems": result.problems,
            }
            for result in outcome.results
        },
        "folder": None if outcome.folder is None else str(outcome.folder),
    }


def _limit(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return f"{'missed: ' if figure.is_missed else ''}at most {shown(figure.limit)}"
