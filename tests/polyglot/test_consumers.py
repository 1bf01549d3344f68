"""A small client in each language, with its generated stubs, against a running gateway."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from polyglot import toolchains
from polyglot.toolchains import HERE, ROOT
from support import gateway
from support.brokers import RunningBroker
from support.gateway import quick_dock

from dockgate_server import simulate

# The first build fetches and compiles; after that a test takes a second or two.
FIRST_BUILD_SECONDS = 300

STUBS = {**os.environ, "PYTHONPATH": str(ROOT / "gen" / "python")}

BUILDS = {"python": toolchains.python, "go": toolchains.go, "ts": toolchains.ts}


@dataclass(frozen=True)
class Consumer:
    """A client in one of the languages, ready to be run."""

    language: str
    command: list[str]


@pytest.fixture(scope="session", params=BUILDS)
def consumer(request: pytest.FixtureRequest) -> Consumer:
    """Each of the consumers in turn, built once; one whose toolchain is missing is skipped."""
    return Consumer(request.param, BUILDS[request.param]())


@pytest.mark.broker
@pytest.mark.timeout(FIRST_BUILD_SECONDS)
async def test_a_consumer_submits_watches_and_repeats(
    consumer: Consumer, broker: RunningBroker, tmp_path: Path
) -> None:
    """It ends with status 0 and one line; its own assertions say what went wrong."""
    async with (
        gateway.running(broker.url, tmp_path) as running,
        simulate.SimulatedDock(quick_dock(broker)) as dock,
    ):
        await dock.wait_ready()
        process = await asyncio.create_subprocess_exec(
            *consumer.command,
            running.app.grpc_address,
            "drone-001",
            env=STUBS,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            printed, complained = await process.communicate()

    assert process.returncode == 0, complained.decode()
    (line,) = printed.decode().splitlines()
    assert line.startswith(f"{consumer.language}: COMMAND_STATUS_SUCCEEDED after ")
    assert line.endswith("replayed, IDEMPOTENCY_CONFLICT")
    assert len([message for message in dock.received if message.on == "services"]) == 1


@pytest.mark.timeout(120)
def test_the_stubs_of_python_are_typed_for_whoever_uses_them() -> None:
    """Strictly, with no settings but where the stubs are; mistakes in using them are found."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
            f"--cache-dir={toolchains.CACHE / 'mypy'}",
            *(str(path) for path in sorted((ROOT / HERE / "python").glob("*.py"))),
        ],
        env={**os.environ, "MYPYPATH": str(ROOT / "gen" / "python")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
