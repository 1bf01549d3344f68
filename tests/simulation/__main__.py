"""``python -m simulation``: many histories in several processes, or one of them step by step."""

import argparse
import gc
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulation import history
from simulation.history import Outcome

_LIVES_PER_SEED = 400


class Totals:
    """What came of all histories together."""

    def __init__(self) -> None:
        self.seeds = self.lives = self.commits = self.publishes = self.starts = 0
        self.hours = 0.0
        self.faults: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.violations: dict[int, list[str]] = {}

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.seeds += 1
        self.lives += outcome.lives
        self.commits += outcome.commits
        self.publishes += outcome.publishes
        self.starts += outcome.starts
        self.hours += outcome.seconds / 3600
        self.faults += outcome.faults
        self.ends += outcome.ends
        if outcome.violations:
            self.violations[outcome.seed] = outcome.violations


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; the exit status says whether everything held."""
    options = _parse(arguments)
    if options.seed is not None:
        return _one(options)
    per_seed = options.lives_per_seed
    count = options.seeds or max(1, -(-options.lives // per_seed))
    seeds = range(options.first_seed, options.first_seed + count)
    console = Console(stderr=True)
    totals, began = Totals(), time.monotonic()
    with _outcomes(seeds, per_seed, options.jobs) as outcomes, _progress(console) as progress:
        task = progress.add_task("lives", total=count * per_seed)
        for outcome in outcomes:
            totals.add(outcome)
            progress.advance(task, per_seed)
            if outcome.violations:
                progress.console.print(_reproduce(outcome.seed, per_seed), outcome.violations[0])
    took = time.monotonic() - began
    if options.json:
        print(json.dumps(_as_json(totals, seeds, per_seed, took), indent=2))  # noqa: T201
    else:
        _print(totals, seeds, per_seed, took)
    return 1 if totals.violations else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    add = parser.add_argument
    add("--lives", type=int, default=20_000, help="how many commands to let live, over all seeds")
    add("--lives-per-seed", type=int, default=_LIVES_PER_SEED, help="commands of one history")
    add("--seeds", type=int, help="how many seeds, instead of --lives")
    add("--first-seed", type=int, default=1)
    add("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    add("--json", action="store_true", help="print the figures for machines")
    add("--seed", type=int, help="run this seed alone")
    add("--trace", action="store_true", help="with --seed: print every step")
    return parser.parse_args(arguments)


def _one(options: argparse.Namespace) -> int:
    outcome = history.run(options.seed, options.lives_per_seed, tracing=options.trace)
    for line in outcome.trace or ():
        sys.stdout.write(f"{line}\n")
    totals = Totals()
    totals.add(outcome)
    if options.json:
        seeds = range(options.seed, options.seed + 1)
        print(json.dumps(_as_json(totals, seeds, options.lives_per_seed, 0.0), indent=2))  # noqa: T201
    else:
        for violation in outcome.violations:
            sys.stdout.write(f"VIOLATION {violation}\n")
        sys.stdout.write(f"{outcome.lives} lives, {len(outcome.violations)} violations\n")
    return 1 if outcome.violations else 0


@contextmanager
def _outcomes(seeds: range, lives: int, jobs: int) -> Iterator[Iterator[Outcome]]:
    if jobs == 1:
        yield (_run((seed, lives)) for seed in seeds)
        return
    with multiprocessing.Pool(jobs, initializer=_prepare) as pool:
        yield pool.imap_unordered(_run, ((seed, lives) for seed in seeds))


def _prepare() -> None:
    # What a history leaves behind is collected when it is over, not in the middle of the next.
    gc.freeze()
    gc.disable()


def _run(what: tuple[int, int]) -> Outcome:
    outcome = history.run(*what)
    gc.collect()
    return outcome


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _reproduce(seed: int, lives: int) -> str:
    return f"python -m simulation --seed {seed} --lives-per-seed {lives} --trace   # "


def _as_json(totals: Totals, seeds: range, lives: int, took: float) -> dict[str, Any]:
    return {
        "first_seed": seeds.start,
        "seeds": totals.seeds,
        "lives": totals.lives,
        "commits": totals.commits,
        "publishes": totals.publishes,
        "starts_of_the_gateway": totals.starts,
        "virtual_hours": round(totals.hours, 1),
        "seconds": round(took, 1),
        "faults": dict(totals.faults.most_common()),
        "ends": dict(totals.ends.most_common()),
        "violations": {
            seed: {"what": what, "reproduce": _reproduce(seed, lives).split("  ")[0]}
            for seed, what in totals.violations.items()
        },
    }


def _print(totals: Totals, seeds: range, lives: int, took: float) -> None:
    write = sys.stdout.write
    write(f"seeds                 {totals.seeds} ({seeds.start} to {seeds[-1]})\n")
    write(f"command lives         {totals.lives:,}\n")
    write(f"virtual time          {totals.hours:,.1f} h in {took:,.0f} s\n")
    write(f"commits               {totals.commits:,}\n")
    write(f"publishes             {totals.publishes:,}\n")
    write(f"starts of the gateway {totals.starts:,}\n")
    for title, counted in (("ends", totals.ends), ("faults", totals.faults)):
        write(f"{title}\n")
        for what, count in counted.most_common():
            write(f"  {count:>11,}  {what}\n")
    for seed, what in totals.violations.items():
        write(f"VIOLATION in seed {seed}: {what[0]}\n  {_reproduce(seed, lives).split('  ')[0]}\n")
    write(f"violations            {len(totals.violations)}\n")


if __name__ == "__main__":
    sys.exit(main())
