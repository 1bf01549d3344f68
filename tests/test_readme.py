"""The README says nothing that does not hold."""

import asyncio
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import gateway
from support.brokers import RunningBroker

from dockgate_server import config, simulate
from dockgate_server.access import signature
from dockgate_server.access.keys import Keys
from dockgate_server.clock import SystemClock
from dockgate_server.model.command import Status
from dockgate_server.model.lifecycle import __doc__ as LIFECYCLE  # noqa: N812

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The one code block in that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return str(found)


def settings_table() -> str:
    """The rows of the settings' table, as the settings themselves say."""
    rows = []
    for name, default, meaning in config.reference():
        text = " ".join(meaning.split()).replace("``", "`")
        rows.append(f"| `{name}` | {f'`{default}`' if default else ''} | {text} |")
    return "\n".join(rows)


def test_the_settings_are_those_of_the_program() -> None:
    """Name, default and meaning of every setting."""
    assert settings_table() in README


def test_the_picture_of_the_lifecycle_is_that_of_the_program() -> None:
    """The same picture as beside the table of transitions, and every status explained."""
    picture = re.search(r"    ACCEPTED ──►.*?▲", README, re.DOTALL)
    assert picture is not None
    assert picture.group() in (LIFECYCLE or "")
    for status in Status:
        assert f"| {status} |" in README


def test_the_help_is_that_of_the_program() -> None:
    """The commands of the command line, as it lists them."""
    shown = subprocess.run(
        [sys.executable, "-m", "dockgate_server", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    ).stdout
    commands = re.findall(r"^  (\w+)\s{2,}(\S.*)$", shown, re.MULTILINE)
    assert len(commands) >= 8
    for name, summary in commands:
        assert f"| `dockgate {name}` | {summary} |" in README


def vector() -> dict[str, str]:
    """The request of the test vector, its credential and its signature."""
    return dict(re.findall(r"^    ([a-z-]+): +(.*)$", README, re.MULTILINE))


def test_the_test_vector_is_right() -> None:
    """Whoever checks a signer against it must not be led astray."""
    values = vector()
    headers = signature.signed_headers(
        api_id=values["api-id"],
        secret=values["secret"],
        method=values["method"],
        target=values["target"],
        timestamp=int(values["timestamp"]),
        nonce=values["nonce"],
        body=values["body"].encode(),
    )

    assert headers[signature.SIGNATURE] == values["signature"]


@pytest.mark.parametrize("shell", ["bash", "dash", "sh"])
@pytest.mark.parametrize(
    "query",
    ["b=%20&a=2&a=1", "", "a-b=1&a=1&a&b=2=1&b=2", "a=1&", "b&b=&a=%41"],
    ids=["vector", "none", "names within names", "empty pair", "without values"],
)
def test_the_shell_function_signs_as_the_gateway_does(shell: str, query: str) -> None:
    """A query too, in the shells that people have."""
    if shutil.which(shell) is None or shutil.which("openssl") is None:
        pytest.skip(f"{shell} or openssl is not installed")
    values = vector()
    path = values["target"].partition("?")[0]
    target = f"{path}?{query}" if query else path
    request = [values["method"], target, values["body"], values["timestamp"], values["nonce"]]
    (function,) = re.findall(r"^signature\(\) \{.*?^\}$", block("bash"), re.DOTALL | re.MULTILINE)
    signed = subprocess.run(
        [shell, "-euc", f'{function}\nsignature "$@"', shell, *request],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"API_ID": values["api-id"], "API_KEY": values["secret"]},
    ).stdout.strip()
    message = signature.canonical_request(
        method=values["method"],
        path=path,
        query=query,
        api_id=values["api-id"],
        timestamp=values["timestamp"],
        nonce=values["nonce"],
        body=values["body"].encode(),
    )
    assert signed == signature.sign(values["secret"].encode(), message)


@pytest.mark.broker
async def test_the_grpc_example_runs(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> None:
    """As it stands, but for the port."""
    async with gateway.running(mosquitto.url, tmp_path) as running:
        await dock.wait_ready()
        example = block("python").replace("127.0.0.1:50051", running.app.grpc_address)

        printed = await asyncio.to_thread(_run, example)

    assert printed.splitlines()[0] == "1 COMMAND_STATUS_ACCEPTED"
    assert printed.splitlines()[-1].endswith("COMMAND_STATUS_SUCCEEDED")


def _run(example: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    return printed.getvalue()


@pytest.mark.broker
async def test_the_http_example_runs(
    mosquitto: RunningBroker, dock: simulate.SimulatedDock, tmp_path: Path
) -> None:
    """As it stands, but for the port and the key."""
    for tool in ("bash", "curl", "openssl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    async with gateway.running(mosquitto.url, tmp_path) as running:
        await dock.wait_ready()
        keys = Keys(running.app.store, tmp_path / "dockgate.db.key", SystemClock())
        key = await keys.create("readme")
        example = block("bash").replace(
            "http://127.0.0.1:8080", f"http://{running.app.http_address}"
        )
        environment = {**os.environ, "API_ID": key.key.api_id, "API_KEY": key.secret}

        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            example,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        printed, _ = await process.communicate()

    accepted, found = (dict[str, Any](orjson.loads(line)) for line in printed.splitlines())
    assert accepted["status"] == "ACCEPTED", accepted
    assert found["command_id"] == accepted["command_id"], found


@pytest.mark.parametrize(
    "find",
    [
        lambda: re.findall(r"\]\(((?!http)[^)#]+)\)", README),
        lambda: re.findall(r"^\| `((?:proto|server)/[\w/.]*)`", README, re.MULTILINE),
    ],
    ids=["links", "folders"],
)
def test_what_the_readme_points_to_exists(find: Callable[[], list[str]]) -> None:
    """Files and folders move; the README must notice."""
    found = find()
    assert found
    for path in found:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)$", README, re.MULTILINE))
def test_every_make_target_exists(target: str) -> None:
    """The two commands that a newcomer types first."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
