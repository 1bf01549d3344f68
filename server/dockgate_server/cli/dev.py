"""``dockgate dev``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dockgate_server.cli.options import AsJson, examples
from dockgate_server.cli.problem import FAILURE, Problem

EXAMPLES = examples(
    "dockgate dev",
    "dockgate dev --once",
    "dockgate dev --grpc-port 0 --http-port 0 --mqtt-port 1883 --data ./dev-data",
)


def dev(
    once: Annotated[
        bool,
        typer.Option("--once", help="End after the demonstration; exit code 0 if it went well."),
    ] = False,
    grpc_port: Annotated[
        int, typer.Option("--grpc-port", metavar="PORT", min=0, max=65535, help="0 for any.")
    ] = 50051,
    http_port: Annotated[
        int, typer.Option("--http-port", metavar="PORT", min=0, max=65535, help="0 for any.")
    ] = 8080,
    mqtt_port: Annotated[
        int, typer.Option("--mqtt-port", metavar="PORT", min=0, max=65535, help="0 for any.")
    ] = 0,
    broker: Annotated[
        Literal["mosquitto", "nats"] | None,
        typer.Option(
            "--broker",
            help="Which MQTT broker to start; by default mosquitto where it is installed.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            file_okay=False,
            help="Keep the database in this folder; by default it is thrown away at the end.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start everything on this machine and show two commands live.

    Everything is a broker, the server and a simulated dock with a drone; one of the commands
    goes over gRPC, one over signed HTTP. Then it stays up, shows what happens, and has
    commands to paste into another terminal. Ctrl-C ends everything. Nothing listens beyond
    127.0.0.1.
    """
    import asyncio

    from dockgate_server.dev import brokers, children, demo, ports, supervisor
    from dockgate_server.dev.report import Report
    from dockgate_server.dev.stack import Ports

    wanted = {"--grpc-port": grpc_port, "--http-port": http_port, "--mqtt-port": mqtt_port}
    try:
        chosen = ports.choose(wanted)
        plan = supervisor.Plan(
            broker=brokers.find(broker),
            ports=Ports(chosen["--grpc-port"], chosen["--http-port"], chosen["--mqtt-port"]),
            data=None if data is None else data.absolute(),
            once=once,
        )
        succeeded = asyncio.run(supervisor.run(plan, Report(as_json=as_json)))
    except supervisor.Interrupted:
        raise typer.Exit(130) from None
    except (
        brokers.BrokerMissing,
        children.ChildProblem,
        demo.DemoProblem,
        ports.PortsTaken,
    ) as problem:
        raise Problem(str(problem), code="CANNOT_START") from problem
    if not succeeded:
        raise typer.Exit(FAILURE)
