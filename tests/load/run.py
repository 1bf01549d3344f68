"""One run: scene after scene, each on processes of its own."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from chaos.processes import NotReady

from load.plan import Outcome, Plan, Result
from load.report import Report
from load.scenes import SCENES
from load.stage import staged


async def run(plan: Plan, scenes: Sequence[str], report: Report) -> Outcome:
    """Do it all; the folder with databases and logs stays if something was wrong."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="dockgate-load-"))
    results = []
    try:
        for name in scenes:
            report.scene(name)
            of_its_own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
            results.append(await _scene(plan, name, of_its_own, report))
    except asyncio.CancelledError:
        shutil.rmtree(folder)
        raise
    is_good = all(result.is_good for result in results)
    if is_good:
        shutil.rmtree(folder)
    return Outcome(plan, results, None if is_good else folder, time.monotonic() - began)


async def _scene(plan: Plan, name: str, folder: Path, report: Report) -> Result:
    result = Result(name)
    try:
        async with staged(folder) as stage:
            await SCENES[name](plan, stage, report, result)
    except (NotReady, TimeoutError, grpc.aio.AioRpcError) as problem:
        result.problems.append(f"it could not be finished: {problem!r}")
    return result
