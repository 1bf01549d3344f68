"""``python -m load``: the load test from the command line."""

import argparse
import asyncio
import signal
import sys

from support import brokers

from load import run
from load.plan import Outcome, Plan
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
    if brokers.binary("mosquitto") is None:
        sys.stderr.write("error: mosquitto is not installed\n")
        return 2
    report = Report(as_json=as_json)
    try:
        with report:
            outcome = asyncio.run(_until_signal(plan, scenes, report))
    except asyncio.CancelledError:
        sys.stderr.write("interrupted; all processes have ended\n")
        return 130
    report.outcome(outcome)
    return 0 if outcome.is_good else 1


async def _until_signal(plan: Plan, scenes: list[str], report: Report) -> Outcome:
    """Run; the first SIGINT or SIGTERM cancels that, and the children end with it."""
    running = asyncio.current_task()
    assert running is not None
    asked: list[bool] = []

    def ask() -> None:
        # A second one must not cut the ending of the children short.
        if not asked:
            asked.append(True)
            running.cancel()

    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, ask)
    return await run.run(plan, scenes, report)


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
            name, type=_whole_number, default=default, help=f"{text} (default {default:,})"
        )
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    told = parser.parse_args()
    if unknown := [one for one in told.scenes if one not in SCENES]:
        parser.error(f"there is no scene {unknown[0]!r}; there are {', '.join(SCENES)}")
    plan = Plan(commands=told.commands, gateways=told.gateways, waiting=told.waiting)
    return plan, told.scenes or list(SCENES), told.json


def _whole_number(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
