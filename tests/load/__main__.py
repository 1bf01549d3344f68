"""``python -m load``: the load test from the command line."""

import argparse
import asyncio
import sys

from support import programs
from support.programs import whole_number

from load import run
from load.plan import Plan
from load.report import Report
from load.scenes import SCENES

_EXAMPLES = """
examples:
  python -m load                                as `make load` does, about three minutes
  python -m load recovery --commands 300000
  python -m load silent-spread expired --waiting 2000
  python -m load --json > load.json

Ends with 0 if every limit was kept, else with 1, and the folder with databases and logs kept.
"""


def main() -> int:
    """Run and tell; gives the exit code."""
    plan, scenes, as_json = _arguments()
    if not programs.is_mosquitto_there():
        return 2
    report = Report(as_json=as_json)
    try:
        with report:
            outcome = programs.run(run.run(plan, scenes, report))
    except asyncio.CancelledError:
        return programs.interrupted()
    report.outcome(outcome)
    return 0 if outcome.is_good else 1


def _arguments() -> tuple[Plan, list[str], bool]:
    parser = argparse.ArgumentParser(
        prog="python -m load",
        description="Give the real server very many commands at once, and measure what it takes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "scenes", nargs="*", metavar="scene", help=f"{', '.join(SCENES)} (default all)"
    )
    defaults = Plan()
    options = (
        ("--commands", "open commands that a start finds"),
        ("--gateways", "docks that they are for"),
        ("--waiting", "commands that the silent dock leaves unanswered"),
    )
    for name, text in options:
        default = getattr(defaults, name.removeprefix("--"))
        parser.add_argument(
            name, type=whole_number, default=default, help=f"{text} (default {default:,})"
        )
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    told = parser.parse_args()
    if unknown := [one for one in told.scenes if one not in SCENES]:
        parser.error(f"there is no scene {unknown[0]!r}; there are {', '.join(SCENES)}")
    plan = Plan(commands=told.commands, gateways=told.gateways, waiting=told.waiting)
    return plan, told.scenes or list(SCENES), told.json


if __name__ == "__main__":
    sys.exit(main())
