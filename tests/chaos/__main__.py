"""``python -m chaos``: the crash test from the command line."""

import argparse
import asyncio
import sys

from support import programs
from support.programs import whole_number

from chaos import run
from chaos.plan import Plan
from chaos.report import Report

_EXAMPLES = """
examples:
  python -m chaos                               as `make chaos` does, about six minutes
  python -m chaos --kills 20 --broker-restarts 5 --seed 7
  python -m chaos --kills 1000 --broker-restarts 200 --rate 80 --docks 8
  python -m chaos --workers 1
  python -m chaos --json > chaos.json

Ends with 0 if every promise was kept, else with 1, each violation in one line, and the folder
with database and logs kept.
"""


def main() -> int:
    """Run and tell; gives the exit code."""
    plan, as_json = _arguments()
    if not programs.is_mosquitto_there():
        return 2
    report = Report(plan, as_json=as_json)
    try:
        with report:
            outcome = programs.run(run.run(plan, report))
    except asyncio.CancelledError:
        return programs.interrupted()
    report.outcome(outcome)
    return 1 if outcome.violations else 0


def _arguments() -> tuple[Plan, bool]:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Kill the server hundreds of times under load, restart its broker, and check"
        " every promise afterwards: nothing lost, nothing sent twice, no end changed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options = (
        ("--kills", whole_number, "SIGKILLs of the server"),
        ("--broker-restarts", whole_number, "restarts of mosquitto, every other one by SIGKILL"),
        ("--docks", whole_number, "simulated docks"),
        ("--seed", int, "decides what is submitted and drawn; the machine has its part too"),
        ("--rate", _rate, "submissions a second"),
        ("--workers", int, "processes that speak gRPC in front of the server's own"),
    )
    defaults = Plan()
    for name, kind, text in options:
        default = getattr(defaults, name.removeprefix("--").replace("-", "_"))
        parser.add_argument(name, type=kind, default=default, help=f"{text} (default {default:g})")
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    told = parser.parse_args()
    plan = Plan(
        told.kills,
        told.broker_restarts,
        told.docks,
        told.rate,
        told.seed,
        workers=told.workers,
    )
    return plan, told.json


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number up to 1000")
    return rate


if __name__ == "__main__":
    sys.exit(main())
