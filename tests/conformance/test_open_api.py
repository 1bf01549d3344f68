"""The running gateway keeps to its OpenAPI document, whatever is sent."""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from docs.conftest import ROOT
from support import gateway
from support.brokers import RunningBroker
from support.gateway import recording_start

from dockgate_server import docs, simulate
from dockgate_server.access.keys import Keys
from dockgate_server.clock import SystemClock
from dockgate_server.model.caller import Scope
from dockgate_server.model.device_request import NewRequest, Routing

pytestmark = [pytest.mark.broker, pytest.mark.timeout(3600)]

EXAMPLES = os.environ.get("CONFORMANCE_EXAMPLES", "10")
"""For each endpoint; `make schemathesis` asks for more."""
PHASES = os.environ.get("CONFORMANCE_PHASES", "examples,fuzzing")
OPTIONS = os.environ.get("CONFORMANCE_OPTIONS", "--generation-deterministic").split()
"""Of schemathesis: `make schemathesis` draws anew each time, and says from which seed."""
SETTINGS = {
    "commands": {"raw_methods": True, "control_streams": True},
    # What is asked here is not how much there may be.
    "limits": {"requests_per_second": 1e6, "requests_at_once": 1_000_000},
}
WAITING = NewRequest(
    id="5d0c9e3a-7b3f-4c55-9a0e-1f2d3c4b5a69",
    gateway_id="dock-001",
    request_type="a_newer_request",
    tid="t1",
    bid="b1",
    payload=b'{"a":1}',
    routing=Routing.INBOX,
    received_at=int(time.time() * 1000),
    expires_at=int(time.time() * 1000) + 3_600_000,
)
DOCUMENT: dict[str, Any] = orjson.loads(docs.openapi_json())
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)


async def _compared(
    document: dict[str, Any],
    broker: RunningBroker,
    dock: simulate.SimulatedDock,
    folder: Path,
    *options: str,
) -> tuple[int | None, str]:
    """What schemathesis finds when it calls a running gateway as the document has it."""
    # From a file: the endpoint that the document is read from would be left out.
    description = folder / "openapi.json"
    description.write_bytes(orjson.dumps(document))
    async with gateway.running(broker.url, folder, **SETTINGS) as running:
        await dock.wait_ready()
        command = (await running.stub.SubmitCommand(recording_start("known"))).command
        request = await running.app.store.requests.record(WAITING, None)
        keys = Keys(running.app.store, folder / "dockgate.db.key", SystemClock())
        key = await keys.create("conformance", scopes=set(Scope))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", str(description)),
            *("--url", f"http://{running.app.http_address}", "--checks", ",".join(CHECKS)),
            *("--no-color", "--continue-on-failure", *options),
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "tests"),
                "SCHEMATHESIS_HOOKS": "conformance.signing",
                "API_ID": key.key.api_id,
                "API_KEY": key.secret,
                "KNOWN_COMMAND": command.command_id,
                "KNOWN_REQUEST": request.id,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return process.returncode, said.decode()


async def test_everything_described_is_answered_as_described(
    mosquitto: RunningBroker,
    dock: simulate.SimulatedDock,
    tmp_path: Path,
) -> None:
    """No 5xx, and no status, type, header or body that the document does not name."""
    status, report = await _compared(
        DOCUMENT,
        mosquitto,
        dock,
        tmp_path,
        *("--phases", PHASES, "--max-examples", EXAMPLES),
        *OPTIONS,
    )
    assert status == 0, report
    # For `make schemathesis`, which shows how much was tried.
    sys.stdout.write(report)
    endpoints = sum(len(path) for path in DOCUMENT["paths"].values())
    assert f"Tested: {endpoints}" in report


async def test_an_answer_that_is_not_described_is_found(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> None:
    """A comparison that finds nothing has to show that it can."""
    path = "/docs/methods/{commandType}"
    described = DOCUMENT["paths"][path]["get"]
    silent = {status: one for status, one in described["responses"].items() if status != "404"}
    changed = {**DOCUMENT, "paths": {path: {"get": {**described, "responses": silent}}}}
    options = ("--phases", "fuzzing", "--max-examples", "20", "--generation-deterministic")
    status, report = await _compared(changed, mosquitto, dock, tmp_path, *options)
    assert status == 1
    assert "Received: 404" in report
