"""The command `dockgate simulate`: a simulated dock in the foreground, logging what happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.dock import SimulatedDock
from dockgate_server.simulate.flags import UsageError, configure, parse_behaviours, parse_broker
from dockgate_server.simulate.records import Happening

PASSWORD_VARIABLE = "DOCKGATE_SIM_PASSWORD"  # noqa: S105 - a name
_DEFAULTS = DockConfig()


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
    "DOCKGATE_SIM_PASSWORD=… dockgate simulate --broker mqtts://dock-001@broker.example",
    "dockgate simulate --broker mqtts://broker.example:8884 --cert-file d.pem --key-file d.key",
    "dockgate simulate --dock dock-002 --drone drone-002",
    "dockgate simulate --behave slow:2 --behave camera_recording_start=silent",
    "dockgate simulate --behave charge_open=job-fails:314008@40 --step-every 0.2",
    "dockgate simulate --behave flighttask_execute=job-fails:314008@15",
    "dockgate simulate --register --organization organization-001 --binding-code binding-001",
    "dockgate simulate --osd 1 --events 50",
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
            metavar="[METHOD=]BEHAVIOUR[:ARG][@PERCENT]",
            help="Misbehave, for one method or for all; repeatable. METHOD may also be a property"
            " or a method of DRC. What is given for a method replaces what is given for all."
            " BEHAVIOUR is slow:SECONDS, late:SECONDS, silent, wrong-method,"
            " wrong-method:METHOD, wrong-tid, unreadable, no-result, twice, offline:SECONDS,"
            " job-fails, job-fails:RESULT@PERCENT, job-ends:STATUS@PERCENT (canceled,"
            " partially_done, rejected or timeout), job-silent@PERCENT (50 where @PERCENT is left"
            " out), member-fails:NAME=RESULT (for properties) or normal. A flight is in the air at"
            " 90 percent: what ends it above has a break point.",
        ),
    ] = None,
    reply: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=JSON",
            help="Answer a method with exactly this data; repeatable. Any JSON: some devices answer"
            ' with a list or "".',
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
    osd: Annotated[
        str,
        typer.Option(
            metavar="HZ",
            help="Messages per second that dock and drone in turn push on osd; 0 for none.",
        ),
    ] = str(_DEFAULTS.osd),
    events: Annotated[
        str,
        typer.Option(
            metavar="HZ",
            help="Events per second that belong to no command, for load; every second one asks for"
            " an answer.",
        ),
    ] = str(_DEFAULTS.events),
    register: Annotated[
        bool,
        typer.Option(
            "--register",
            help="Insist on the whole registration before coming online, and ask the cloud before"
            " each take-off. Refused, it says why and tries again.",
        ),
    ] = _DEFAULTS.register,
    organization: Annotated[
        str, typer.Option(metavar="ID", help="Organization to which it asks to be bound.")
    ] = _DEFAULTS.organization,
    binding_code: Annotated[
        str, typer.Option(metavar="CODE", help="Device binding code by which it may.")
    ] = _DEFAULTS.binding_code,
    takeoff_wait: Annotated[
        str,
        typer.Option(
            metavar="SECONDS",
            help="How long a flight waits for answers to what is asked before take-off.",
        ),
    ] = str(_DEFAULTS.takeoff_wait),
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Certificates to trust instead of the system's."),
    ] = None,
    cert_file: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="The dock's own certificate, if the broker asks for one."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The private key of that certificate.")
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
                broker,
                password=os.environ.get(PASSWORD_VARIABLE) or None,
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
            ),
            gateway=dock,
            drone=drone,
            answer_after=answer_after,
            step_every=step_every,
            keep_session=keep_session,
            register=register,
            organization=organization,
            binding_code=binding_code,
            takeoff_wait=takeoff_wait,
            drc_push=drc_push,
            osd=osd,
            events=events,
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
