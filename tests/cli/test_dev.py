"""``dockgate dev``: the whole, as a newcomer meets it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.scripted import Run
from support.brokers import NAMES, binary

from dockgate_server.dev import brokers, ports
from dockgate_server.dev.children import ChildProblem, Children

FREE_PORTS = ("--grpc-port", "0", "--http-port", "0", "--mqtt-port", "0")


@contextlib.contextmanager
def dev(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "dockgate_server", "dev", *FREE_PORTS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # and it ends its children
        process.communicate(timeout=30)


def need(broker: str) -> None:
    if binary(broker) is None:
        pytest.skip(f"{broker} is not installed")


def until(process: "subprocess.Popen[str]", kind: str) -> list[dict[str, Any]]:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["kind"] == kind:
            return seen
    assert process.stderr is not None
    raise AssertionError(f"no {kind}; {process.stderr.read()}")


def listens(address: str) -> bool:
    host, port = address.removeprefix("mqtt://").split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5):
        return True
    return False


@pytest.mark.broker
@pytest.mark.parametrize("broker", NAMES)
def test_once_shows_both_commands_succeed(broker: str) -> None:
    """What CI and the README rely on."""
    need(broker)
    with dev("--once", "--broker", broker) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "SUCCEEDED over gRPC" in out
    assert "SUCCEEDED over HTTP" in out
    assert "error" not in err


@pytest.mark.broker
@pytest.mark.parametrize("broker", NAMES)
def test_it_stays_up_with_commands_that_work_until_ctrl_c(broker: str) -> None:
    """The pasted commands do what they say; Ctrl-C leaves nothing behind and is no error."""
    need(broker)
    with dev("--json", "--broker", broker) as process:
        seen = until(process, "commands")
        ready, pasted = seen[0], seen[-1]
        ends = [one for one in seen if one["kind"] == "end"]
        assert [(end["over"], end["status"]) for end in ends] == [
            ("gRPC", "SUCCEEDED"),
            ("HTTP", "SUCCEEDED"),
        ]
        submit, watch, charge = pasted["commands"]
        assert paste(submit).startswith("accepted at")
        assert "SUCCEEDED" in paste(watch)
        assert "--watch" in charge
        if shutil.which("curl") and shutil.which("openssl"):
            for _ in range(2):  # it stays valid
                assert json.loads(paste(pasted["curl"]))["status"] == "ACCEPTED"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"kind": "stopping"}
    for address in (ready["mqtt"], ready["grpc_address"], ready["http_address"]):
        assert not listens(address)
    assert not Path(ready["database"]).parent.exists()


def paste(command: str) -> str:
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.broker
def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """And everything that had been started is ended."""
    if all(binary(name) is None for name in NAMES):
        pytest.skip("neither mosquitto nor nats is installed")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dockgate.db").mkdir()
    with dev("--once", "--data", str(tmp_path / "data")) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out == ""
    assert err.startswith("error: the server has ended with exit code 1: cannot open the database")
    assert err.count("\n") == 1


def test_a_port_in_use_is_one_line_that_names_the_option(run: Run) -> None:
    """Nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        called = run("dev", *FREE_PORTS, "--http-port", port)
    assert called.code == 1
    assert called.err == f"error: port {port} is in use (--http-port chooses another, 0 any)\n"


def test_a_port_for_two_is_one_line_that_names_both(run: Run) -> None:
    """The system would give it to both who ask."""
    called = run("dev", *FREE_PORTS, "--http-port", "18080", "--grpc-port", "18080")
    assert called.code == 1
    assert called.err == (
        "error: port 18080 is wanted by --grpc-port and --http-port; each needs its own\n"
    )


def test_free_ports_are_all_different() -> None:
    """Each is held until all are chosen."""
    chosen = ports.choose(dict.fromkeys(("--a", "--b", "--c", "--d"), 0))
    assert len(set(chosen.values())) == 4


def test_without_a_broker_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing broker is the likeliest thing to be missing."""
    monkeypatch.setattr(brokers, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    for name in (None, "mosquitto", "nats"):
        with pytest.raises(brokers.BrokerMissing, match="install"):
            brokers.find(name)


async def test_a_child_that_fails_to_start_gives_its_last_words() -> None:
    """They are the reason that a user needs."""
    async with Children() as children:
        child = await children.start("server", ["sh", "-c", "echo error: why >&2; exit 3"], {})
        with pytest.raises(ChildProblem, match="the server has ended with exit code 3: why"):
            await children.until_ready(child, 30)
        missing = children.start("server", ["/nowhere/server"], {})
        with pytest.raises(ChildProblem, match="cannot start the server"):
            await missing


async def test_a_child_that_is_never_ready_is_not_waited_for_for_ever() -> None:
    """A limit, and a line that says so."""
    async with Children() as children:
        child = await children.start("dock", ["sleep", "60"], dict(os.environ))
        with pytest.raises(ChildProblem, match="the dock is not ready after 0 s"):
            await children.until_ready(child, 0.05)
    assert child.process.returncode == -signal.SIGTERM


async def test_children_end_whatever_happens() -> None:
    """Also one that does not listen to SIGTERM."""
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    started = []

    async def fail() -> None:
        async with Children() as children:
            child = await children.start("deaf", ["sh", "-c", deaf], dict(os.environ))
            await children.until_ready(child, 30)
            started.append(child)
            asyncio.get_running_loop().call_later(0.1, children.kill_all)  # a second Ctrl-C
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert started[0].process.returncode == -signal.SIGKILL


async def test_the_end_of_any_child_is_noticed() -> None:
    """Nothing goes on as if it were still there."""
    async with Children() as children:
        await children.start("broker", ["sleep", "60"], dict(os.environ))
        dock = await children.start("dock", ["sleep", "60"], dict(os.environ))
        dock.kill()
        assert str(await children.first_end()) == "the dock has ended by signal 9"
