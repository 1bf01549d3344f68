"""The command line of the simulated dock."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from dockgate_server import cli
from dockgate_server.simulate import Happening, JobFails, Reply, Slow, command, flags

PROGRAM = "import typer; from dockgate_server.simulate.command import simulate; typer.run(simulate)"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--broker", "localhost:1883"], "write mqtt://host:1883"),
        (["--broker", "http://localhost"], "write mqtt://host:1883"),
        (["--broker", "mqtt://"], "write mqtt://host:1883"),
        (["--broker", "mqtt://h:99999"], "out of range"),
        (["--broker", "mqtt://h:0"], "no port 0"),
        (["--broker", "mqtt://h/topic"], "nothing may follow"),
        (["--broker", "mqtt://:secret@h"], "without a user"),
        (["--ca-file", "/nowhere.pem"], "is for TLS"),
        (["--broker", "mqtts://h", "--ca-file", "/nowhere.pem"], "no readable PEM"),
        (["--key-file", "/nowhere.key"], "--key-file: is for TLS"),
        (["--broker", "mqtts://h", "--cert-file", "/nowhere.pem"], "must be given together"),
        (
            ["--broker", "mqtts://h", "--cert-file", "/nowhere.pem", "--key-file", "/nowhere.key"],
            "no certificate and its unencrypted key",
        ),
        (["--dock", "a/b"], "not a serial number"),
        (["--dock", "same", "--drone", "same"], "cannot both be same"),
        (["--answer-after", "soon"], "--answer-after: 'soon' is not a time"),
        (["--step-every", "-1"], "--step-every: '-1' is not a time"),
        (["--drc-push", "often"], "--drc-push: 'often' is not a number per second"),
        (["--behave", "height_limit=member-fails"], "as member-fails:NAME=RESULT"),
        (["--keep-session", "nan"], "--keep-session: 'nan' is not a time"),
        (["--behave", "sloow:1"], "--behave sloow:1: 'sloow' is not a behaviour"),
        (["--behave", "slow:1", "--behave", "late:2"], "exclude each other"),
        (["--behave", "camera_aim=job-fails"], "starts no job"),
        (["--behave", "return_home=job-fails"], "no way to report a failure"),
        (["--behave", "camera_aim=job-silent"], "starts no job"),
        (["--behave", "charge_open=job-ends:partially_done"], "no word for partially_done"),
        (["--reply", "charge_open={"], "is not JSON"),
        (["--reply", "nix={}"], "--reply nix={}: there is no method 'nix'; see: dockgate methods"),
        (["--behave", "charge_opn=silent"], "no method 'charge_opn'; did you mean charge_open?"),
        (["--osd", "often"], "--osd: 'often' is not a number per second"),
        (["--events", "1001"], "--events: '1001' is not a number per second"),
        (["--takeoff-wait", "never"], "--takeoff-wait: 'never' is not a time"),
    ],
)
def test_a_bad_flag_is_one_clear_line_and_exit_code_2(arguments, complaint, capsys):
    assert cli.run(["simulate", *arguments]) == 2
    printed = capsys.readouterr()
    assert complaint in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert "secret" not in printed.err
    assert printed.out == ""


def test_help_shows_every_behaviour_and_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    assert cli.run(["simulate", "--help"]) == 0
    printed = "".join(capsys.readouterr().out.split())  # long words are broken at hyphens
    for name in (
        "slow:SECONDS",
        "wrong-method:METHOD",
        "job-fails:RESULT@PERCENT",
        "job-ends:STATUS@PERCENT",
        "job-silent@PERCENT",
        "offline",
        "member-fails",
    ):
        assert name in printed
    assert "dockgatesimulate--behaveslow:2" in printed


@pytest.mark.parametrize(
    ("url", "url_shown", "username", "password"),
    [
        ("mqtt://h", "mqtt://h:1883", None, None),
        ("mqtt://h:1", "mqtt://h:1", None, None),
        ("mqtts://h", "mqtts://h:8883", None, None),
        ("mqtt://[::1]:5", "mqtt://[::1]:5", None, None),
        ("mqtt://u:p%40ss@h", "mqtt://h:1883", "u", "p@ss"),
        ("mqtt://u@h", "mqtt://h:1883", "u", "from-env"),
    ],
)
def test_a_broker_url_is_read_and_its_password_never_shown(url, url_shown, username, password):
    environment = "from-env" if username == "u" and ":p" not in url else None
    broker = flags.parse_broker(url, password=environment)
    assert (broker.url, broker.username, broker.password) == (url_shown, username, password)
    assert (broker.tls is not None) == url.startswith("mqtts")
    assert str(password) not in repr(broker) or password is None


def test_flags_for_one_method_add_up():
    told = flags.parse_behaviours(
        ["slow:2", "charge_open=slow:1", "charge_open=job-fails:7@30"], ['charge_open={"result":0}']
    )
    assert told == {
        None: (Slow(2),),
        "charge_open": (Slow(1), JobFails(7, 30), Reply({"result": 0})),
    }


def test_a_happening_is_one_line_for_a_person_and_for_a_program():
    happening = Happening(1700000000123, "received", "camera_aim\ntid 1", {"tid": "1"})
    text = command.line(happening, as_json=False)
    assert "\n" not in text
    assert ".123  received" in text
    assert json.loads(command.line(happening, as_json=True)) == {
        "at_ms": 1700000000123,
        "kind": "received",
        "text": "camera_aim\ntid 1",
        "tid": "1",
    }


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_runs_until_it_is_told_to_stop_and_then_leaves_cleanly(cloud, config, number):
    process = await start(
        *("--broker", f"mqtt://127.0.0.1:{config.broker.port}", "--json"),
        *("--dock", config.gateway, "--drone", config.drone, "--answer-after", "0"),
    )
    kinds = await read_until(process, "accepted")
    assert kinds == ["connected", "announced", "accepted"]
    sent = await cloud.send("camera_aim")
    assert (await cloud.reply())["tid"] == sent["tid"]
    process.send_signal(number)
    _, errors = await process.communicate()
    assert errors == b""
    assert process.returncode == 0


async def test_an_unreachable_broker_is_said_at_once_and_tried_again(own_broker):
    process = await start("--broker", f"mqtt://u:secret@127.0.0.1:{own_broker.port}")
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    again = (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    rest, errors = await process.communicate()
    address = f"mqtt://127.0.0.1:{own_broker.port}"
    for one in (line, again):
        assert f"cannot reach broker {address} (Connection refused), retrying" in one
    assert b"secret" not in rest + errors
    assert errors == b""
    assert process.returncode == 0


async def start(*arguments):
    root = str(Path(command.__file__).parents[2])
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", PROGRAM, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    )


async def read_until(process, kind):
    kinds = []
    async with asyncio.timeout(20):
        while kind not in kinds:
            kinds.append(json.loads(await process.stdout.readline())["kind"])
    return kinds
