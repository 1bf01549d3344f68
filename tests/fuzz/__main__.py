"""``python -m fuzz``: the fuzz targets from the command line."""

import argparse
import importlib
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fuzz.report import Report

TARGETS: Final = ("mqtt", "http")
_DEFAULT_SECONDS = 60.0
_EXAMPLES = """
examples:
  make fuzz                                   each target for a minute, from a new seed
  make fuzz ARGS="mqtt --seconds 600"
  make fuzz ARGS="mqtt --seed 4711 --seconds 0"   one history again, as a failure says

Ends with 0 if everything held, else with 1.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    options = _parse(arguments)
    seed = random.SystemRandom().randrange(1, 10**6) if options.seed is None else options.seed
    reports = []
    for target in options.targets or TARGETS:
        with _progress(target, options.seconds):
            reports.append(_run(target)(seed, options.seconds))
        if not options.json:
            _print(reports[-1])
    if options.json:
        document = [{**asdict(one), "reproduce": _reproduce(one)} for one in reports]
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0 if all(one.is_good for one in reports) else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description="Feed the gateway what nobody meant, and check that it minds none of it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("targets", nargs="*", metavar="target", help=f"{' or '.join(TARGETS)} (default both)")
    add(
        "--seconds",
        type=_seconds,
        default=_DEFAULT_SECONDS,
        help=f"for how long, each (default {_DEFAULT_SECONDS:g})",
    )
    add("--seed", type=int, help="what to draw from (default a new one each time)")
    add("--json", action="store_true", help="the figures as one JSON document")
    options = parser.parse_args(arguments)
    if unknown := [one for one in options.targets if one not in TARGETS]:
        parser.error(f"there is no target {unknown[0]!r}; there are {' and '.join(TARGETS)}")
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 on")
    return seconds


def _run(target: str) -> Callable[[int, float], Report]:
    return cast("Callable[[int, float], Report]", importlib.import_module(f"fuzz.{target}").run)


@contextmanager
def _progress(target: str, seconds: float) -> Iterator[None]:
    """A bar of the time on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    over, began = threading.Event(), time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"fuzz {target}", total=max(seconds, 1.0))

        def follow() -> None:
            while not over.wait(0.2):
                progress.update(task, completed=time.monotonic() - began)

        following = threading.Thread(target=follow, name="progress", daemon=True)
        following.start()
        try:
            yield
        finally:
            over.set()
            following.join()


def _reproduce(report: Report) -> str:
    return f'make fuzz ARGS="{report.target} --seed {report.failing_seed} --seconds 0"'


def _print(report: Report) -> None:
    write = sys.stdout.write
    rate = report.inputs / report.seconds if report.seconds else 0.0
    write(f"{report.target}: {report.inputs:,} inputs in {report.rounds:,} rounds from seed ")
    write(f"{report.seed}, {report.seconds:,.0f} s, {rate:,.0f} a second\n")
    for what, count in report.seen.most_common():
        write(f"  {count:>11,}  {what}\n")
    for failure in report.failures[:20]:
        write(f"FAILURE {failure[:2000]}\n")
    write(f"failures  {len(report.failures)}\n")
    if not report.is_good:
        write(f"again     {_reproduce(report)}\n")


if __name__ == "__main__":
    sys.exit(main())
