"""The scenes: what is there before, what happens, and the figures of it."""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from support.records import CHARGE_OPEN

from dockgate.downlink.v1 import command_service_pb2 as pb
from load import database
from load.callers import Caller, TimeoutWatch
from load.database import Left, now_ms
from load.plan import WINDOW, Plan, Result
from load.report import Report
from load.stage import Stage

_LONGEST_SECONDS = 290
_LOOK_SECONDS = 0.05
_SUBMITTING_AT_ONCE = 64
_PATIENCE_SECONDS = 30

Scene = Callable[[Plan, Stage, Report, Result], Awaitable[None]]


async def recovery(plan: Plan, stage: Stage, report: Report, result: Result) -> None:
    """A start with very many open commands, of which most have still to be sent."""
    deadline_at = now_ms() + _LONGEST_SECONDS * 1000
    left = await _fill(stage, report, database.mixture(plan.commands, plan.gateways, deadline_at))
    expected = to_be_sent(left)
    unsent = sum(map(len, expected.values()))
    report.phase("starting the server")
    await _serve(plan, stage, result)
    began = time.monotonic()
    limit = plan.send_microseconds * unsent / 1e6
    async with stage.client() as stub, _calling(plan, stub, left, result):
        report.phase("sending what waited", unsent)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while stage.witness.taken < unsent:
                    report.done(stage.witness.taken)
                    await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - began
    result.show("commands that had still to be sent", unsent)
    result.show("  until all were with their docks", seconds, "s", limit=limit)
    result.show("memory at the end", await stage.memory_mib(), "MiB")
    record = await stage.close(result)
    result.show("most unacknowledged at the broker", record.most_in_flight, limit=WINDOW)
    result.problems += order_problems(expected, record.received)


async def silent_together(plan: Plan, stage: Stage, report: Report, result: Result) -> None:
    """A dock that takes everything and answers nothing; all deadlines fall together."""
    # Time for the start, and for all of them to be sent before.
    deadline_at = now_ms() + 4000 + round(2.5 * plan.waiting)
    left = await _fill(stage, report, database.unsent(plan.waiting, deadline_at))
    await _serve(plan, stage, result)
    report.phase("waiting for the deadlines", plan.waiting)
    async with stage.client() as stub, _watching(stub) as watch:
        while (waiting := database.delivered(stage.database)) < plan.waiting:
            if now_ms() > deadline_at - 500:
                result.problems.append(f"only {waiting} were waiting just before the deadline")
                break
            await asyncio.sleep(_LOOK_SECONDS)
        async with _calling(plan, stub, left, result):
            await watch.until(plan.waiting, deadline_at / 1000 + _PATIENCE_SECONDS, report)
    _show_ends(plan, watch, result)
    await stage.close(result)


async def silent_spread(plan: Plan, stage: Stage, report: Report, result: Result) -> None:
    """The same dock; the commands are submitted, and their deadlines fall as they came."""
    left = await _fill(stage, report, database.unsent(1, now_ms() + _LONGEST_SECONDS * 1000))
    await _serve(plan, stage, result)
    async with stage.client() as stub, _watching(stub) as watch:
        report.phase("submitting", plan.waiting)
        # So long that all of them wait at once.
        seconds = 2 + math.ceil(plan.waiting / 500)
        await _submit_all(stub, plan.waiting, seconds, report)
        give_up = time.time() + seconds + _PATIENCE_SECONDS
        if watch.seen:
            result.problems.append("the first deadlines passed before all were submitted")
        report.phase("waiting for the deadlines", plan.waiting)
        async with _calling(plan, stub, left, result):
            await watch.until(plan.waiting, give_up, report)
    _show_ends(plan, watch, result)
    await stage.close(result)


async def expired(plan: Plan, stage: Stage, report: Report, result: Result) -> None:
    """A start long after all deadlines."""
    deadline_at = now_ms() - 600_000
    left = await _fill(stage, report, database.mixture(plan.commands, plan.gateways, deadline_at))
    report.phase("starting the server")
    began = time.monotonic()
    await _serve(plan, stage, result)
    limit = plan.serving_seconds + plan.end_microseconds * plan.commands / 1e6
    report.phase("ending what has expired", plan.commands)
    async with stage.client() as stub, _calling(plan, stub, left, result):
        still_open = plan.commands
        while still_open and time.monotonic() < began + limit:
            still_open = await asyncio.to_thread(database.still_open, stage.database, plan.commands)
            report.done(plan.commands - still_open)
            await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - began
    result.show("until all had ended, from the start", seconds, "s", limit=limit)
    result.show("memory at the end", await stage.memory_mib(), "MiB")
    record = await stage.close(result)
    if record.received:
        result.problems.append("something was sent after its deadline")
    ends = database.failure_codes(stage.database, plan.commands)
    if ends != (due := codes_due(left)):
        result.problems.append(f"the commands have ended with {ends}, not {due}")


SCENES: Final[Mapping[str, Scene]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (recovery, silent_together, silent_spread, expired)
}


def to_be_sent(left: Iterable[Left]) -> dict[str, list[str]]:
    """By gateway, what has to reach it after the start, in that order.

    All that was not sent, and what may have been if it was the last one to its gateway and is safe
    to repeat.
    """
    expected: dict[str, list[str]] = defaultdict(list)
    last_sent: dict[str, Left] = {}
    for one in left:
        if one.accept.sending:
            last_sent[one.accept.gateway_id] = one
    for one in left:
        accept = one.accept
        again = one is last_sent.get(accept.gateway_id) and accept.command_type == CHARGE_OPEN
        if not accept.sending or (again and not one.delivered):
            expected[accept.gateway_id].append(accept.id)
    return expected


def order_problems(
    expected: Mapping[str, Sequence[str]], received: Mapping[str, Sequence[str]]
) -> list[str]:
    """Where the docks did not get exactly what was due, in the order accepted."""
    problems = []
    for gateway_id in sorted(expected.keys() | received.keys()):
        due, came = expected.get(gateway_id, ()), received.get(gateway_id, ())
        if list(due) != list(came):
            at = next(
                (
                    number
                    for number, pair in enumerate(zip(due, came, strict=False))
                    if pair[0] != pair[1]
                ),
                min(len(due), len(came)),
            )
            problems.append(
                f"{gateway_id} got {len(came)} commands where {len(due)} were due; they differ "
                f"from number {at + 1} on"
            )
    return problems


def codes_due(left: Iterable[Left]) -> dict[str, int]:
    """How the commands have to end if nothing more happens than their deadlines."""
    codes: Counter[str] = Counter()
    for one in left:
        if one.delivered:
            codes["RESPONSE_TIMEOUT"] += 1
        else:
            codes["OUTCOME_UNKNOWN" if one.accept.sending else "DELIVERY_TIMEOUT"] += 1
    return dict(codes)


async def _fill(stage: Stage, report: Report, left: Iterable[Left]) -> list[Left]:
    everything = list(left)
    report.phase("making the database", len(everything))
    await database.fill(stage.database, everything, report.done)
    return everything


async def _serve(plan: Plan, stage: Stage, result: Result) -> None:
    result.show("serving after", await stage.serve(), "s", limit=plan.serving_seconds)
    result.show("memory when serving", await stage.memory_mib(), "MiB")


@asynccontextmanager
async def _calling(
    plan: Plan, stub: Any, left: Sequence[Left], result: Result
) -> AsyncIterator[None]:
    """Call all the while, and show how that went."""
    caller = Caller(stub, [one.accept.id for one in left])
    async with _running(caller.run()):
        yield
        await caller.until_it_has_called()
    caller.show(result, plan.submit_seconds)


@asynccontextmanager
async def _watching(stub: Any) -> AsyncIterator[TimeoutWatch]:
    watch = TimeoutWatch(stub, database.gateway(0))
    async with _running(watch.run()):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await watch.began.wait()
        yield watch


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _submit_all(stub: Any, count: int, seconds: int, report: Report) -> None:
    """Many commands for the silent dock, some at once."""
    numbers = iter(range(count))

    async def submit() -> None:
        for number in numbers:
            request = pb.SubmitCommandRequest(
                device_id=database.gateway(0),
                idempotency_key=f"silent-{number}",
                timeout_seconds=seconds,
            )
            request.dji.flight_setup_abort.SetInParent()
            await stub.SubmitCommand(request, timeout=_PATIENCE_SECONDS)
            report.done(number)

    async with asyncio.TaskGroup() as submitting:
        for _ in range(_SUBMITTING_AT_ONCE):
            submitting.create_task(submit())


def _show_ends(plan: Plan, watch: TimeoutWatch, result: Result) -> None:
    if len(watch.seen) != plan.waiting:
        result.problems.append(f"{len(watch.seen)} of {plan.waiting} were seen to end")
    result.show_times("TIMED_OUT seen after the deadline", watch.seen, limit=plan.late_seconds)
    result.show_times("  by completed_at", watch.completed, limit=plan.late_seconds)
