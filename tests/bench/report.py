"""What a run shows: a bar on a terminal, lines elsewhere, one table at the end."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table
from support.programs import Progress, shown

from bench.plan import Figure, Result

_WIDTH = 150


class Report(Progress):
    """Writes what happens to standard error."""

    _steps = 0

    def step(self, text: str) -> None:
        """Something else begins."""
        self.phase(text)
        self._steps += 1
        self.done(self._steps)


def show(result: Result, seconds: float, *, as_json: bool) -> None:
    """Print what came of the run."""
    if as_json:
        sys.stdout.write(json.dumps(document(result, seconds)) + "\n")
        return
    console = Console(highlight=False, soft_wrap=True)
    table = Table(
        "", "", "", "beside", "", "ratio", "wanted", title=_machine(), title_justify="left"
    )
    for column in (1, 4, 5):
        table.columns[column].justify = "right"
    for one in result.figures:
        style = "bold red" if one.is_missed else None
        table.add_row(*_cells(one), style=style)
    console.print(table)
    for problem in result.problems:
        console.print(f"problem: {problem}", markup=False)
    console.print(f"{seconds:.0f} s")


def document(result: Result, seconds: float) -> dict[str, Any]:
    """The outcome for machines."""
    return {
        "machine": _machine(),
        "seconds": round(seconds),
        "good": result.is_good,
        "problems": result.problems,
        "figures": [
            {
                "name": one.name.strip(),
                "value": round(one.value, 3),
                "unit": one.unit,
                "beside": one.beside or None,
                "limit": None if one.limit is None else round(one.limit, 3),
                "ratio": None if one.ratio is None else round(one.ratio, 3),
                "wanted": None if one.wanted is None else str(one.wanted),
                "missed": one.is_missed,
            }
            for one in result.figures
        ],
    }


def _cells(one: Figure) -> tuple[str, ...]:
    limit = "" if one.limit is None else shown(one.limit)
    ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
    wanted = "" if one.wanted is None else str(one.wanted)
    return (
        one.name,
        shown(one.value),
        one.unit,
        one.beside,
        limit,
        ratio,
        f"missed: {wanted}" if one.is_missed else wanted,
    )


def _machine() -> str:
    model = ""
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [one for one in about.read_text().splitlines() if one.startswith("model name")]
        model = f"{names[0].partition(': ')[2]}, " if names else ""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    python = f"Python {platform.python_version()}, grpcio {grpc.__version__}"
    return f"{model}{os.cpu_count()} cores, {python}, {day}"
