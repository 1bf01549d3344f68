"""How many commands a second: accepted in a burst, and brought to their end."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from bench import bare, http2
from bench.plan import IN_FLIGHT, Plan, Result, Wanted
from bench.stage import DOCKS, SUBMIT, Bare, Stage
from dockgate.downlink.v1 import command_service_pb2 as pb

_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
_GROWTH = 2.0
"""How much larger the backlog may be at the end than at a third of the time, and than what is begun
at once: the next life begins with an answer that is not recorded yet."""


def submissions(prefix: str, count: int) -> Iterator[bytes]:
    """Requests to all docks in turn, each with a key of its own."""
    request = pb.SubmitCommandRequest(timeout_seconds=60)
    request.dji.camera_recording_start.payload_index = "39-0-7"
    for number in range(count):
        request.device_id = DOCKS[number % len(DOCKS)]
        request.idempotency_key = f"{prefix}-{number}"
        yield request.SerializeToString()


async def measure(plan: Plan, stage: Stage, parts: Bare, result: Result, workers: int = 0) -> None:
    """Bursts beside the echo, then lives without a pause.

    With ``workers`` it is judged: they are there for as many commands a second as can be had.
    """
    behind = f", --workers {workers}" if workers else ""
    in_burst, in_lives = (Wanted(0.45), Wanted(0.30)) if workers else (None, None)
    echoes, bursts, drained = [], [], []
    # The first of each is slower: connections, caches, the size of the files.
    for number in range(plan.rounds + 1):
        messages = list(submissions(f"burst-{number}", plan.burst))
        seconds = await http2.calls(parts.grpc_address, bare.ECHO, messages, IN_FLIGHT)
        echoes.append(plan.burst / seconds)
        began = time.monotonic()
        seconds = await http2.calls(stage.server.address, SUBMIT, messages, IN_FLIGHT)
        bursts.append(plan.burst / seconds)
        await until_ended(stage)
        drained.append(plan.burst / (time.monotonic() - began))
    echo = ("bare gRPC echo", echoes[1:])
    result.show(f"{plan.burst:,} SubmitCommand{behind}", bursts[1:], "/s", echo, in_burst)
    result.show("  until all had SUCCEEDED", drained[1:], "/s", echo)
    name = f"whole lives, {IN_FLIGHT} at once, for {plan.life_seconds} s{behind}"
    await _lives(plan, stage, parts, result, name, in_lives)
    with closing(sqlite3.connect(f"file:{stage.server.database}?mode=ro", uri=True)) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (stored,) = db.execute("SELECT count(*) FROM command").fetchone()
        others = "SELECT count(*) FROM command WHERE status <> 'SUCCEEDED'"
        (failed,) = db.execute(others).fetchone()
    if not workers:
        result.show("database for each command", pages * size / stored / 1024, "KiB")
    if failed:
        result.problems.append(f"{failed} of {stored} commands did not succeed")


async def _lives(
    plan: Plan, stage: Stage, parts: Bare, result: Result, name: str, wanted: Wanted | None
) -> None:
    """So many lives at once: where a dock has answered, the next submission leaves."""
    answered = 0
    backlogs = []
    messages = submissions("life", 10_000_000)
    loop = asyncio.get_running_loop()
    going_on = True

    def on_answered() -> None:
        nonlocal answered
        answered += 1
        if going_on:
            connection.call(headers, next(messages))
            # Many answers come in one piece.
            if not waiting:
                waiting.append(loop.call_soon(flush))

    def flush() -> None:
        waiting.clear()
        connection.flush()

    waiting: list[asyncio.Handle] = []
    rates = []
    echo_before = await _echo(plan, parts)
    stage.docks.on_answered = on_answered
    async with http2.connected(stage.server.address) as connection:
        headers = connection.headers(SUBMIT)
        for _ in range(IN_FLIGHT):
            connection.call(headers, next(messages))
        connection.flush()
        thirds = plan.rounds
        for _ in range(thirds):
            before, began = await _succeeded(stage), time.monotonic()
            await asyncio.sleep(plan.life_seconds / thirds)
            rates.append((await _succeeded(stage) - before) / (time.monotonic() - began))
            backlogs.append(await still_open(stage))
        going_on = False
        await until_ended(stage)
    stage.docks.on_answered = lambda: None
    echoes = [echo_before, await _echo(plan, parts)]
    result.show(name, rates, "/s", ("bare gRPC echo", echoes), wanted)
    result.show("  open at the end of it", backlogs[-1], "")
    if backlogs[-1] > _GROWTH * max(IN_FLIGHT, backlogs[0]):
        result.problems.append(f"the backlog grew: {backlogs}")


async def _echo(plan: Plan, parts: Bare) -> float:
    messages = list(submissions("echo", plan.burst))
    seconds = await http2.calls(parts.grpc_address, bare.ECHO, messages, IN_FLIGHT)
    return plan.burst / seconds


async def until_ended(stage: Stage) -> None:
    """Wait until no command is open.

    Raises:
        TimeoutError: Some stay so.
    """
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while await still_open(stage):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(_LOOK_SECONDS)


async def still_open(stage: Stage) -> int:
    """How many commands have not ended."""
    # As the index of the open ones has it.
    where = "status IN ('ACCEPTED', 'DELIVERED')"
    return await asyncio.to_thread(_count, stage, f"SELECT count(*) FROM command WHERE {where}")


async def _succeeded(stage: Stage) -> int:
    newest = "SELECT coalesce(max(seq), 0) FROM command"
    return await asyncio.to_thread(_count, stage, newest) - await still_open(stage)


def _count(stage: Stage, query: str) -> int:
    with closing(sqlite3.connect(f"file:{stage.server.database}?mode=ro", uri=True)) as db:
        return int(db.execute(query).fetchone()[0])
