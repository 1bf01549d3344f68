"""The command `dockgate simulate`: a simulated dock in the foreground, logging what happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from dockgate_server.simulate import jobs
from dockgate_server.simulate.behaviour import (
    Behaviour,
    JobFails,
    conduct_of,
    parse_behave,
    parse_rate,
    parse_reply,
    parse_seconds,
)
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.connection import Broker
from dockgate_server.simulate.dock import SimulatedDock
from dockgate_server.simulate.records import Happening

PASSWORD_VARIABLE = "DOCKGATE_SIM_PASSWORD"  # noqa: S105 - a name
_DEFAULTS = DockConfig()


class UsageError(ValueError):
    """A flag has a bad value; the text says which, what is wrong and what would be right."""


def parse_broker(url: str, *, password: str | None = None, ca_file: Path | None = None) -> Broker:
    """Read the address of a broker.

    Args:
        url: mqtt://[user[:password]@]host[:port], or mqtts:// for TLS.
        password: used where the URL has none.
        ca_file: certificates to trust instead of the system's.

    Raises:
        UsageError: its text never repeats a password.
    """
    like = "write mqtt://host:1883, or mqtts://user@host:8883 for TLS"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"--broker: {error}; {like}") from None
    if parts.scheme not in ("mqtt", "mqtts") or not host:
        raise UsageError(f"--broker: this is not the address of a broker; {like}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"--broker: nothing may follow host and port; {like}")
    if port == 0:
        raise UsageError(f"--broker: there is no port 0; {like}")
    username = urllib.parse.unquote(parts.username) if parts.username else None
    secret = urllib.parse.unquote(parts.password) if parts.password else password
    if secret and not username:
        raise UsageError(f"--broker: a password without a user; {like}")
    tls = None
    if parts.scheme == "mqtts":
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise UsageError(f"--ca-file: {ca_file} is no readable PEM file ({error})") from None
    elif ca_file is not None:
        raise UsageError("--ca-file: is for TLS; write --broker mqtts://…")
    default_port = 8883 if tls else 1883
    return Broker(host=host, port=port or default_port, username=username, password=secret, tls=tls)


def parse_behaviours(
    behave: list[str], reply: list[str]
) -> Mapping[str | None, tuple[Behaviour, ...]]:
    """Read all --behave and --reply together; what is given for one method adds up.

    Raises:
        UsageError: one of them is wrong, two exclude each other, or a job is to fail that
            does not exist or cannot fail.
    """
    told: dict[str | None, tuple[Behaviour, ...]] = {}
    for flag, parse, texts in (("--behave", parse_behave, behave), ("--reply", parse_reply, reply)):
        for text in texts:
            with _flag(f"{flag} {text}"):
                method, behaviour = parse(text)
                told[method] = (*told.get(method, ()), behaviour)
                conduct_of(told[method])
                if method and isinstance(behaviour, JobFails):
                    _check_can_fail(method)
    return told


def configure(
    *,
    broker: Broker,
    gateway: str,
    drone: str,
    answer_after: str,
    step_every: str,
    keep_session: str,
    drc_push: str,
    behaviours: Mapping[str | None, tuple[Behaviour, ...]],
) -> DockConfig:
    """Put the flags together into a configuration.

    Raises:
        UsageError: the first flag that is wrong.
    """
    with _flag("--answer-after"):
        answer_seconds = parse_seconds(answer_after)
    with _flag("--step-every"):
        step_seconds = parse_seconds(step_every)
    with _flag("--keep-session"):
        session_seconds = int(parse_seconds(keep_session))
    with _flag("--drc-push"):
        pushes_per_second = parse_rate(drc_push)
    with _flag("--dock, --drone"):
        return DockConfig(
            broker=broker,
            gateway=gateway,
            drone=drone,
            answer_after=answer_seconds,
            step_every=step_seconds,
            keep_session=session_seconds,
            drc_push=pushes_per_second,
            behaviours=behaviours,
        )


def line(happening: Happening, *, as_json: bool) -> str:
    """Write one happening as one line, for a program or for a person."""
    if as_json:
        head = {"at_ms": happening.at_ms, "kind": happening.kind, "text": happening.text}
        return orjson.dumps(head | dict(happening.details)).decode()
    at = datetime.fromtimestamp(happening.at_ms / 1000, tz=UTC).astimezone()
    text = happening.text.replace("\n", " ").replace("\r", " ")
    return f"{at:%H:%M:%S}.{happening.at_ms % 1000:03d}  {happening.kind:<12}  {text}"


async def run(config: DockConfig, write: Callable[[Happening], None]) -> None:
    """Run a dock until SIGINT or SIGTERM."""
    async with SimulatedDock(config, on_happening=write) as dock:
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows has only KeyboardInterrupt
                loop.add_signal_handler(number, asked.set)
        stopping = asyncio.ensure_future(asked.wait())
        ended = asyncio.ensure_future(dock.wait_stopped())
        await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)  # the second one ends the process at once
        stopping.cancel()
        ended.cancel()


EXAMPLES = (
    "dockgate simulate --broker mqtts://user@broker.example --dock dock-002 --drone drone-002",
    "dockgate simulate --behave slow:2 --behave camera_recording_start=silent",
    "dockgate simulate --behave charge_open=job-fails:314004@40 --step-every 0.2",
    "dockgate simulate --behave distance_limit_status=member-fails:state=2 --drc-push 10",
    """dockgate simulate --reply 'camera_photo_take={"result": 5001, "message": "camera busy"}'""",
)
"""For the end of the help."""


def simulate(
    broker: Annotated[
        str,
        typer.Option(
            metavar="URL",
            # No square brackets in help texts: rich takes them for markup and drops them.
            help="mqtt://host:port or mqtt://user@host:port, mqtts:// for TLS. The password can"
            f" stand in the URL or, better, in the environment as {PASSWORD_VARIABLE}.",
        ),
    ] = "mqtt://127.0.0.1:1883",
    dock: Annotated[
        str, typer.Option(metavar="SN", help="Serial number of the dock.")
    ] = _DEFAULTS.gateway,
    drone: Annotated[
        str, typer.Option(metavar="SN", help="Serial number of its drone.")
    ] = _DEFAULTS.drone,
    answer_after: Annotated[
        str, typer.Option(metavar="SECONDS", help="Time from a command to its reply.")
    ] = str(_DEFAULTS.answer_after),
    step_every: Annotated[
        str, typer.Option(metavar="SECONDS", help="Time between the progress events of a job.")
    ] = str(_DEFAULTS.step_every),
    behave: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[METHOD=]BEHAVIOUR[:ARG]",
            help="Misbehave, for one method or for all; repeatable. METHOD may also be a property"
            " or a method of DRC. What is given for a method replaces what is given for all."
            " BEHAVIOUR is slow:SECONDS, late:SECONDS, silent, wrong-method,"
            " wrong-method:METHOD, wrong-tid, unreadable, no-result, twice, offline:SECONDS,"
            " job-fails, job-fails:RESULT@PERCENT, member-fails:NAME=RESULT (for properties) or"
            " normal.",
        ),
    ] = None,
    reply: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=JSON", help="Answer a method with exactly this data; repeatable."
        ),
    ] = None,
    keep_session: Annotated[
        str,
        typer.Option(
            metavar="SECONDS",
            help="How long the broker keeps messages for a dock that is away; 0 for not at all."
            " A broker that speaks only MQTT 3.1.1 keeps them for ever.",
        ),
    ] = str(_DEFAULTS.keep_session),
    drc_push: Annotated[
        str,
        typer.Option(
            metavar="HZ",
            help="Messages per second that it pushes on drc/up without being asked; 0 for none.",
        ),
    ] = str(_DEFAULTS.drc_push),
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Certificates to trust instead of the system's."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each thing that happens.")
    ] = False,
) -> None:
    """Be a DJI dock with a drone on an MQTT broker, until Ctrl-C.

    It announces itself, answers commands, properties and DRC like a real dock and reports the
    progress of jobs. It keeps trying if the broker cannot be reached.
    """
    try:
        config = configure(
            broker=parse_broker(
                broker, password=os.environ.get(PASSWORD_VARIABLE) or None, ca_file=ca_file
            ),
            gateway=dock,
            drone=drone,
            answer_after=answer_after,
            step_every=step_every,
            keep_session=keep_session,
            drc_push=drc_push,
            behaviours=parse_behaviours(behave or [], reply or []),
        )
    except UsageError as error:
        raise typer.BadParameter(str(error)) from None

    def write(happening: Happening) -> None:
        typer.echo(line(happening, as_json=as_json))

    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(run(config, write))
        except* BrokenPipeError:
            # The reader (`| head`) has seen enough. Python would complain once more on exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _flag(name: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _check_can_fail(method: str) -> None:
    if not jobs.has_job(method):
        raise ValueError(f"{method} starts no job that could fail; charge_open, for one, does")
    if not jobs.has_job(method, that_can_fail=True):
        raise ValueError(f"the events of {method} have no way to report a failure")
