"""What all clients share: the channel, what is worth a repetition, and what they saw of ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from chaos.evidence import SeenEvent, View, Violation
from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc

REPEATED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""The statuses that say nothing of the request: the server was killed, is starting, is slow."""

REPEAT_SECONDS = 0.05


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Any]:
    """A stub whose channel comes back quickly: by default it would wait up to two minutes."""
    options = [
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    async with grpc.aio.insecure_channel(address, options) as channel:
        yield pb_grpc.CommandServiceStub(channel)


class Notebook:
    """What any client noticed: the ends of commands, and what was wrong."""

    def __init__(self) -> None:
        self.ends: dict[str, View] = {}
        self._places: dict[str, int] = {}  # in which order the ends were first seen
        self.violations: list[Violation] = []

    @property
    def mark(self) -> int:
        """How many ends are known: to be asked before a call, and given with what it says."""
        return len(self.ends)

    def saw(self, command: command_pb2.Command, mark: int = 0) -> View:
        """Take down how a command looked.

        Args:
            command: What a client was shown.
            mark: How many ends were known when the client asked for the present state; an end
                among them must be shown. 0 for a watch, which may show what was before.
        """
        view = view_of(command)
        known = self.ends.get(view.command_id)
        if known is None:
            if view.is_end:
                self._places[view.command_id] = len(self.ends)
                self.ends[view.command_id] = view
        elif view.is_end:
            if view.end != known.end:
                self._changed(view, known)
        elif view.revision >= known.revision or self._places[view.command_id] < mark:
            self._changed(view, known)
        return view

    def refused(self, what: str, error: grpc.aio.AioRpcError) -> None:
        """A call got an answer that it should not have got."""
        text = f"{what}: {error.code().name}: {error.details()}"
        self.violations.append(Violation("call refused", "", text))

    def _changed(self, view: View, known: View) -> None:
        text = f"was seen as {known.end}, later as {view.end}"
        self.violations.append(Violation("end changed", view.command_id, text))


async def again(notebook: Notebook, what: str, error: grpc.aio.AioRpcError) -> bool:
    """Wait a moment if the call is worth a repetition; otherwise take it down."""
    if error.code() not in REPEATED:
        notebook.refused(what, error)
        return False
    await asyncio.sleep(REPEAT_SECONDS)
    return True


def view_of(command: command_pb2.Command) -> View:
    """A command as data."""
    basis = command_pb2.CompletionBasis.Name(command.completion_basis)
    failure = error_reason_pb2.FailureCode.Name(command.failure_code)
    return View(
        command_id=command.command_id,
        revision=command.revision,
        status=status_of(command),
        basis=_known(basis, "COMPLETION_BASIS_"),
        failure_code=_known(failure, "FAILURE_CODE_"),
        completed_at=milliseconds(command.completed_at)
        if command.HasField("completed_at")
        else None,
    )


def event_of(event: command_pb2.CommandEvent) -> SeenEvent:
    """An event as data."""
    kind = command_pb2.CommandEventKind.Name(event.kind).removeprefix("COMMAND_EVENT_KIND_")
    command = event.command
    return SeenEvent(command.command_id, event.revision, kind, status_of(command))


def status_of(command: command_pb2.Command) -> str:
    """The status by the name that the database has for it."""
    return command_pb2.CommandStatus.Name(command.status).removeprefix("COMMAND_STATUS_")


def milliseconds(timestamp: Any) -> int:
    """A time as the database has it."""
    return int(timestamp.seconds * 1000 + timestamp.nanos // 1_000_000)


def _known(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace("UNSPECIFIED", "")
