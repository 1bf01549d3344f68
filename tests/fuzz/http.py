"""The HTTP path under bytes that nobody meant: a real server on a real socket, and a real store.

A run is a row of rounds. Each has a seed of its own, a new server and hundreds of connections, some
at once. What must hold:

* no answer is a 5xx, and nothing is logged as an error, by whomever;
* what is stored was signed, byte for byte;
* after each handful of connections an honest call gets through;
* nothing is left of a connection that is over, and the process does not grow.
"""

import asyncio
import itertools
import logging
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Final
from unittest.mock import patch

from structlog.testing import capture_logs
from support.open_api import OpenApiUnderTest, serving
from support.raw_http import exchange

from dockgate_server.limits import refusals
from dockgate_server.model.caller import Scope
from dockgate_server.model.command import CommandFilter
from fuzz.report import Report, in_rounds
from fuzz.requests import NO_ID, Drawer, Drawn

CONNECTIONS: Final = 480
"""In one round."""
AT_ONCE: Final = 16
BODY_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 0.1
"""For answers that may not come, as a request may not be whole."""
WARM_UP: Final = 2
"""Rounds after which the process has all that it goes on to have."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_BROKEN = 500


def run(seed: int, seconds: float) -> Report:
    """Run one round after the other until the time is over, but at least one."""
    return in_rounds(Report("http", seed), seconds, _round, warm_up=WARM_UP)


class _Complaints(logging.Handler):
    """What libraries complain of: asyncio of exceptions that nobody caught, for example."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"logged: {record.getMessage()[:500]} {record.exc_info or ''}")


async def _round(seed: int, folder: Path, report: Report) -> list[str]:
    """One server with its connections; what did not hold."""
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    failures: list[str] = []
    try:
        # Strangers share a few lines a second, and here each refusal is to be seen.
        every_line = patch.object(refusals, "MOST_UNPROVEN_LINES", sys.maxsize)
        with capture_logs() as logs, every_line:
            async with serving(folder, body_seconds=BODY_SECONDS) as api:
                api.key = await api.keys.create("fuzz", scopes=set(Scope))
                await api.device_asks(NO_ID)
                tasks = len(asyncio.all_tasks())
                drawer = Drawer(random.Random(seed), api)
                for _ in range(CONNECTIONS // AT_ONCE):
                    drawn = [drawer.connection() for _ in range(AT_ONCE)]
                    said = await asyncio.gather(*(_connect(api, one) for one in drawn))
                    report.inputs += len(drawn)
                    failures += _judge(drawn, said, report.seen)
                    failures += await _honest(api, drawer)
                    if failures:
                        break
                failures += await _stored(api, drawer, report.seen)
                failures += await _left(tasks)
        report.seen.update(f"refused {entry['code']}" for entry in logs if "code" in entry)
        failures += [
            f"logged: {entry}" for entry in logs if entry["log_level"] in ("error", "critical")
        ]
    finally:
        logging.getLogger().removeHandler(complaints)
    return failures + complaints.found


async def _connect(api: OpenApiUnderTest, drawn: Drawn) -> bytes:
    """Send it piece by piece; what the server says to that."""
    host, _, port = api.server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    said = bytearray()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            bounds = (0, *drawn.cuts, len(drawn.data))
            for start, end in itertools.pairwise(bounds):
                writer.write(drawn.data[start:end])
                await writer.drain()
                await asyncio.sleep(0)
            while not drawn.is_abandoned and (chunk := await reader.read(65536)):
                said += chunk
    except (TimeoutError, ConnectionError):
        # A request that is not whole has no answer, and what was refused need not be read.
        pass
    finally:
        writer.transport.abort()
    return bytes(said)


def _judge(drawn: list[Drawn], said: list[bytes], seen: Counter[str]) -> list[str]:
    failures = []
    for one, answer in zip(drawn, said, strict=True):
        statuses = [int(status) for status in _STATUS.findall(answer)]
        seen.update(f"answered {status}" for status in statuses)
        seen["not answered"] += not statuses
        if any(status >= _BROKEN for status in statuses):
            failures.append(f"{answer[:300]!r} to {one.data[:2000]!r}, cut at {one.cuts}")
    return failures


async def _honest(api: OpenApiUnderTest, drawer: Drawer) -> list[str]:
    """An honest call gets through, whatever else has come."""
    try:
        answers = await exchange(api.server.address, drawer.honest())
    except (TimeoutError, OSError) as error:
        return [f"the server does not answer an honest call any more: {error!r}"]
    statuses = [answer.status for answer in answers]
    return [] if statuses == [202] else [f"an honest call was answered {statuses}"]


async def _stored(api: OpenApiUnderTest, drawer: Drawer, seen: Counter[str]) -> list[str]:
    """Every command is one that was signed."""
    page = await api.store.list_commands("default", CommandFilter(), None, 1_000_000)
    seen["commands stored"] += len(page.commands)
    failures = []
    for command in page.commands:
        signed = drawer.signed.get(await _key_of(api, command.id), [])
        said = {"device_id": command.device_id, "command_type": command.command_type}
        was_signed = any(said.items() <= body.items() for body in signed)
        if command.principal != api.key.key.api_id or not was_signed:
            failures.append(f"stored, but never signed: {command}")
    return failures


async def _key_of(api: OpenApiUnderTest, command_id: str) -> str:
    row = await api.store._writer._connection.run(
        lambda db: db.execute(
            "SELECT idempotency_key FROM command WHERE id = ?", (command_id,)
        ).fetchone()
    )
    return str(row[0])


async def _left(tasks: int) -> list[str]:
    """Connections that are over leave no task behind."""
    for _ in range(500):
        if len(asyncio.all_tasks()) <= tasks:
            return []
        await asyncio.sleep(0.02)
    return [f"tasks are left over: {len(asyncio.all_tasks()) - tasks}"]
