"""``python -m bench``: measure the gateway and its parts, and print one table."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from chaos.processes import NotReady
from support import programs

from bench import fanout, http, latency, report, scale, throughput
from bench.plan import Plan, Result
from bench.stage import bare, gateway, subfolder

SCENES = ("latency", "throughput", "workers", "http", "fanout", "starts", "scale")

_WORKERS = 1
"""One is enough to take gRPC's part off a gateway that has one other core."""

_SMALL = Plan(
    rounds=1,
    burst=400,
    life_seconds=1,
    single=20,
    watchers=20,
    pushes=5,
    idle_watchers=50,
    requests=100,
    stored=2000,
    few_stored=100,
    open_commands=1000,
)

_EXAMPLES = """
examples:
  python -m bench                       as `make bench` does, under five minutes
  python -m bench latency throughput
  python -m bench --json > bench.json

Ends with 0 if all is as wanted, else with 1. Other work on the machine falsifies every figure.
"""


async def run(plan: Plan, scenes: list[str], told: report.Report) -> Result:
    """Measure all those scenes, each on processes and a database of its own."""
    result = Result()
    with tempfile.TemporaryDirectory(prefix="dockgate-bench-") as folder:
        async with bare() as parts:
            for name in scenes:
                told.step(name)
                of_its_own = subfolder(Path(folder), name)
                if name == "starts":
                    await scale.starts(plan, of_its_own, result)
                elif name == "scale":
                    await scale.measure(plan, of_its_own, result)
                elif name == "workers":
                    settings = {"DOCKGATE_GRPC__WORKERS": str(_WORKERS)}
                    async with gateway(of_its_own, settings) as stage:
                        await throughput.measure(plan, stage, parts, result, _WORKERS)
                elif name == "http":
                    key = await http.key(str(of_its_own / "dockgate.db"))
                    async with gateway(of_its_own) as stage:
                        await http.measure(plan, stage, parts, key, result)
                else:
                    scene = {"latency": latency, "throughput": throughput, "fanout": fanout}[name]
                    async with gateway(of_its_own) as stage:
                        await scene.measure(plan, stage, parts, result)
    return result


def main() -> int:
    """Measure and tell; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scene", nargs="*", metavar="scene", help=", ".join(SCENES))
    parser.add_argument("--small", action="store_true", help="only see that it works")
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON document")
    asked = parser.parse_args()
    unknown = [one for one in asked.scene if one not in SCENES]
    if unknown:
        parser.error(f"there is no scene {unknown[0]!r}; there are {', '.join(SCENES)}")
    if not programs.is_mosquitto_there():
        return 2
    scenes = asked.scene or list(SCENES)
    began = time.monotonic()
    try:
        with report.Report(len(scenes)) as told:
            result = programs.run(run(_SMALL if asked.small else Plan(), scenes, told))
    except (NotReady, TimeoutError, RuntimeError) as problem:
        sys.stderr.write(f"error: it could not be finished: {problem!r}\n")
        return 1
    except asyncio.CancelledError:
        return programs.interrupted()
    report.show(result, time.monotonic() - began, as_json=asked.json)
    return 0 if result.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
