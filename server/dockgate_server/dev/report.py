"""What ``dockgate dev`` shows, for people or as JSON."""

import time
from collections.abc import Sequence
from typing import Any

import typer

from dockgate.downlink.v1 import command_pb2
from dockgate_server.cli import progress, render, words
from dockgate_server.dev.stack import DOCK, DRONE, Stack


class Report:
    """Writes what happens, each thing as it happens.

    Args:
        as_json: One document a line, its ``kind`` one of ready, begin, step, event,
            end, commands, stopping.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._over = ""

    def ready(self, stack: Stack, seconds: float) -> None:
        """Everything runs."""
        if self._as_json:
            self._print(
                "ready",
                broker=stack.broker.name,
                mqtt=stack.mqtt_url,
                grpc_address=stack.grpc_address,
                http_address=stack.http_address,
                database=str(stack.database),
                devices=[DOCK, DRONE],
            )
            return
        expiry = "" if stack.broker.has_expiry else " (MQTT 3.1.1: messages cannot expire)"
        typer.echo(f"broker  {stack.broker.name} on {stack.mqtt_url}{expiry}")
        typer.echo(f"server  gRPC on {stack.grpc_address}, HTTP on http://{stack.http_address}")
        typer.echo(f"        database {stack.database}")
        typer.echo(f"dock    {DOCK} with {DRONE}, simulated")
        typer.echo(f"ready after {seconds:.1f} s")

    def begin(self, over: str, title: str) -> None:
        """A command is submitted now."""
        self._over = over
        if self._as_json:
            self._print("begin", title=title)
            return
        typer.echo("")
        typer.echo(typer.style(title, bold=True))

    def step(self, started: float, what: str, text: str) -> None:
        """A call was answered."""
        if self._as_json:
            self._print("step", ms=_ms(started), step=what, text=text)
        else:
            typer.echo(f"{_ms(started):>8.1f} ms  {what:<13}  {text}")

    def event(self, started: float, event: command_pb2.CommandEvent) -> None:
        """An event arrived."""
        if self._as_json:
            self._print("event", ms=_ms(started), event=render.to_json(event))
            return
        command = event.command
        status = typer.style(f"{words.status(command):<13}", fg=words.colour(command))
        typer.echo(f"{_ms(started):>8.1f} ms  {status}  {words.event(event)}")

    def end(self, started: float, command: command_pb2.Command) -> None:
        """The command has ended."""
        if self._as_json:
            self._print(
                "end",
                ms=_ms(started),
                command_id=command.command_id,
                status=words.status(command),
            )
            return
        what = typer.style(words.status(command), fg=words.colour(command), bold=True)
        typer.echo(f"{what} over {self._over}, {_ms(started):.0f} ms after it was submitted")

    def commands(self, calls: Sequence[str], curl: str) -> None:
        """What can be pasted into another terminal."""
        self._over = ""
        if self._as_json:
            self._print("commands", commands=list(calls), curl=curl)
            return
        typer.echo("")
        typer.echo(typer.style("To try in another terminal, in this folder:", bold=True))
        for call in calls:
            typer.echo(f"\n{call}")
        typer.echo(f"\n{curl}")
        typer.echo("")
        typer.echo(typer.style("From now on, until Ctrl-C:", bold=True))

    def later(self, event: command_pb2.CommandEvent) -> None:
        """Something happened to a command of somebody else."""
        if self._as_json:
            self._print("event", event=render.to_json(event))
        else:
            typer.echo(progress.fleet_line(event))

    def stopping(self) -> None:
        """Everything is ended now."""
        self._over = ""
        if self._as_json:
            self._print("stopping")
        else:
            typer.echo("\nending everything …")

    def _print(self, kind: str, **members: Any) -> None:
        over = {"over": self._over} if self._over else {}
        render.print_json({"kind": kind} | over | members)


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
