"""Builds the consumers in the ignored folder .cache, with whatever toolchains are there.

A toolchain that is missing, and packages that cannot be fetched, skip the test and are named; a
build that fails is a failure.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parent.parent.parent
HERE = Path("tests", "polyglot")
CACHE = ROOT / ".cache" / "polyglot"
# Without a network some of these tools wait for minutes; a compiler may not.
FETCH_SECONDS = 120
BUILD_SECONDS = 120
NPM_OPTIONS = (
    *("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
    *("--fetch-timeout=30000", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"),
)

# Of whoever runs the tests; they would change what is built.
_ENVIRONMENT = {**os.environ, "GOFLAGS": "", "GOWORK": "off"}


def python() -> list[str]:
    """The consumer in Python needs no building."""
    return [sys.executable, str(ROOT / HERE / "python" / "consumer.py")]


def go() -> list[str]:
    """Build the consumer in Go and return the command that runs it."""
    _need("go")
    source = ROOT / HERE / "go"
    program = CACHE / "go" / "consumer"
    _fetch("the modules of Go", ["go", "mod", "download"], source)
    _build(["go", "build", "-mod=readonly", "./..."], ROOT / "gen" / "go")
    _build(["go", "build", "-mod=readonly", "-buildvcs=false", "-o", str(program), "."], source)
    return [str(program)]


def ts() -> list[str]:
    """Build the consumer in TypeScript and return the command that runs it.

    Nothing is written beside the sources: they are copied into a workspace of npm, which gives
    stubs and consumer one and the same @grpc/grpc-js.
    """
    _need("node")
    _need("npm")
    members = (Path("gen", "ts"), HERE / "ts")
    definitions = {member: (ROOT / member / "package.json").read_bytes() for member in members}
    state = hashlib.sha256(b"".join(definitions.values())).hexdigest()[:16]
    workspace = CACHE / "ts" / state
    if not workspace.is_dir():
        _install(definitions, workspace)
    for member in members:
        _copy_sources(ROOT / member, workspace / member)
        _build([str(workspace / "node_modules" / ".bin" / "tsc")], workspace / member)
    return ["node", str(workspace / HERE / "ts" / "dist" / "consumer.js")]


def _need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def _install(definitions: dict[Path, bytes], workspace: Path) -> None:
    """Fetch the packages of a workspace; its folder appears only when all are there."""
    workspace.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.parent, prefix="new-") as temporary:
        new = Path(temporary, "new")
        for member, definition in definitions.items():
            (new / member).mkdir(parents=True)
            (new / member / "package.json").write_bytes(definition)
        members = [member.as_posix() for member in definitions]
        root = orjson.dumps({"private": True, "workspaces": members})
        (new / "package.json").write_bytes(root)
        _fetch("the packages of npm", ["npm", "install", *NPM_OPTIONS], new)
        if not workspace.is_dir():
            new.rename(workspace)


def _copy_sources(source: Path, target: Path) -> None:
    """Copy a package as it is now, without what its own tools may have left there."""
    for old in target.iterdir():
        if old.is_dir() and old.name != "node_modules":
            shutil.rmtree(old)
    left_by_tools = shutil.ignore_patterns("node_modules", "dist", "package-lock.json")
    shutil.copytree(source, target, ignore=left_by_tools, dirs_exist_ok=True)


def _fetch(what: str, command: list[str], folder: Path) -> None:
    try:
        done = _run(command, folder, FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what} could not be fetched in {FETCH_SECONDS} s")
    said = (done.stderr or done.stdout).strip()
    assert "SECURITY ERROR" not in said, said
    if done.returncode != 0:
        pytest.skip(f"{what} could not be fetched: {' '.join(said.split())[:300]}")


def _build(command: list[str], folder: Path) -> None:
    done = _run(command, folder, BUILD_SECONDS)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"


def _run(command: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a tool that may start others; all of them are ended when it takes too long."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=_ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
