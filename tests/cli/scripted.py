"""A server whose answers are scripted, and what it says by default."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import code_pb2
from grpc_status import rpc_status

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate_server.errors import DockgateError
from dockgate_server.rpc.errors import to_status

STATUS = command_pb2.CommandStatus
KIND = command_pb2.CommandEventKind


@dataclass
class Called:
    """What a call of the command line gave."""

    code: int
    out: str
    err: str


Run = Callable[..., Called]


def command(status: str = "ACCEPTED", revision: int = 1, **fields: Any) -> command_pb2.Command:
    """A command of the scripted server."""
    message = command_pb2.Command(
        command_id="c-1",
        vendor="dji",
        device_id="drone-001",
        gateway_id="dock-001",
        command_type="camera_recording_start",
        status=STATUS.Value(f"COMMAND_STATUS_{status}"),
        revision=revision,
        timeout_seconds=30,
        **fields,
    )
    message.accepted_at.FromMilliseconds(1_700_000_000_123)
    message.deadline_at.FromMilliseconds(1_700_000_030_123)
    return message


def event(kind: str, status: str, revision: int, **fields: Any) -> command_pb2.CommandEvent:
    """An event of the scripted server."""
    message = command_pb2.CommandEvent(
        revision=revision,
        kind=KIND.Value(f"COMMAND_EVENT_KIND_{kind}"),
        command=command(status, revision, **fields),
    )
    message.occurred_at.FromMilliseconds(1_700_000_000_123 + revision)
    return message


LIFE = (
    event("ACCEPTED", "ACCEPTED", 1),
    event("SENDING", "ACCEPTED", 2),
    event("DELIVERED", "DELIVERED", 3),
    event("REPLIED", "SUCCEEDED", 4, response_code="0"),
)


@dataclass
class Script(pb_grpc.CommandServiceServicer):
    """Answers each call with the next entry of its list: a message, or an error to raise."""

    answers: dict[str, list[Any]] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""

    def _next(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        answer = self.answers[method].pop(0)
        if isinstance(answer, Exception):
            refuse(context, answer)
        return answer

    def SubmitCommand(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next("submit", request, context)

    def GetCommand(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next("get", request, context)

    def ListCommands(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next("list", request, context)

    def CancelCommand(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next("cancel", request, context)

    def ListUnmatchedResponses(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next("unmatched", request, context)

    def WatchCommand(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for step in self._next("watch", request, context):
            if isinstance(step, Exception):
                refuse(context, step)
            elif step is None:
                yield pb.WatchCommandResponse(heartbeat=pb.Heartbeat())
            else:
                yield pb.WatchCommandResponse(event=step)

    def WatchCommands(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for step in self._next("watch_all", request, context):
            if isinstance(step, Exception):
                refuse(context, step)
            yield step


def refuse(context: grpc.ServicerContext, error: Exception) -> None:
    """End the call as the gateway does; anything but a DockgateError as the network does."""
    if isinstance(error, DockgateError):
        status = to_status(error)
        assert status.code != code_pb2.OK
        context.abort_with_status(rpc_status.to_status(status))
    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
