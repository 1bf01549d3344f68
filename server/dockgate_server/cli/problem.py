"""What may go wrong and is nobody's bug: a line on standard error, and an exit code."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from dockgate_server.cli.options import API_ID, API_KEY

if TYPE_CHECKING:
    import grpc
    from google.rpc import error_details_pb2

    from dockgate_server.errors import DockgateError

FAILURE = 1
USAGE = 2

# Where a field of the request is a word of the command line, people know it by that.
_OPTIONS = {
    "command_id": "ID",
    "request_id": "ID",
    "reply_message": "--message",
    "device_id": "--device",
    "gateway_id": "--gateway",
    "serial_number": "--serial-number",
    "after": "--after",
    "idempotency_key": "--key",
    "timeout_seconds": "--timeout",
    "after_revision": "--after",
    "resume_token": "--after",
    "command_type": "--type",
    "page_size": "--limit",
}
# In the words of gRPC's core, which says UNAVAILABLE to all of them.
_NO_NAME = ("errors resolving", "DNS resolution failed")
_NO_CONNECTION = ("failed to connect", *_NO_NAME)
# The path of a method's field within SubmitCommandRequest.
_METHOD_PATH = re.compile(r"^dji\.\w+\.(?=\w)")


class Problem(Exception):
    """Ends the command.

    Args:
        message: What was wrong, with which field, what would be right. One line, or one line for
            each of several mistakes.
        exit_code: FAILURE, or USAGE for a call that can only be wrong.
        code: The same for programs: an ErrorReason, or a word of the command line's own.
        details: The offending fields, each with ``field`` and ``description``.
        metadata: What ``error_reason.proto`` lists for the reason.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = FAILURE,
        code: str = "FAILED",
        details: Sequence[Mapping[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code
        self.details = tuple(details)
        self.metadata = dict(metadata or {})


def usage(message: str) -> Problem:
    """A wrong call."""
    return Problem(message, exit_code=USAGE, code="USAGE")


def no_database(path: Path) -> Problem:
    """There is none where the configuration says that it is."""
    return Problem(
        f"there is no database {path.absolute()}; name the gateway's with --config or "
        "DOCKGATE_STORE__PATH",
        code="NO_DATABASE",
    )


def no_permission(error: PermissionError) -> Problem:
    """This user may not have a file, or look into its folder."""
    return Problem(f"cannot use {error.filename}: {error.strerror}", code="NO_PERMISSION")


def report(problem: Problem, *, as_json: bool) -> int:
    """Write a problem to standard error and give the exit code."""
    if as_json:
        document: dict[str, object] = {"code": problem.code, "message": problem.message}
        if problem.details:
            document["details"] = problem.details
        if problem.metadata:
            document["metadata"] = problem.metadata
        notice_json(document)
    else:
        for line in problem.message.splitlines():
            typer.echo(f"error: {line}", err=True)
    return problem.exit_code


def notice_json(document: Mapping[str, object]) -> None:
    """Write one JSON document to standard error."""
    import orjson

    sys.stderr.write(orjson.dumps(document).decode() + "\n")
    sys.stderr.flush()


def is_help(wrong: typer.TyperException) -> bool:
    """Whether it is the help of a command that was called without anything."""
    context = getattr(wrong, "ctx", None)
    return context is not None and wrong.format_message() == context.get_help()


def from_usage_error(wrong: typer.TyperException) -> Problem:
    """From what typer has to say about options and arguments."""
    message = " ".join(wrong.format_message().split()).removesuffix(".")
    message = message[:1].lower() + message[1:].replace(": Input should be", ": must be")
    context = getattr(wrong, "ctx", None)
    if context is not None:
        message += f" (see: {context.command_path} --help)"
    return Problem(message, exit_code=wrong.exit_code, code="USAGE")


def from_refusal(error: "DockgateError") -> Problem:
    """From a refusal by the same code that the server runs, before anything was sent."""
    details = [{"field": one.field, "description": one.description} for one in error.violations]
    return Problem(
        _listed(details) or error.message,
        exit_code=USAGE,
        code=error.reason,
        details=details,
        metadata=error.metadata,
    )


def from_rpc_error(
    error: "grpc.RpcError", server: str, names: Mapping[str, str] | None = None
) -> Problem:
    """From the status with which a call ended.

    Args:
        error: The call.
        server: Where it was made.
        names: What fields are called on the command line, where that is not as everywhere.
    """
    import grpc
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    code, text = error.code(), error.details() or ""
    try:
        # Every RpcError that a call raises is that call; the types do not say so.
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # details that contradict the status; not one of our servers
        status = None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status is not None else ():
        if not detail.Unpack(info):
            detail.Unpack(bad)
    if not info.reason:
        return _without_details(code, text, server)
    if info.reason == "UNAUTHORIZED" and API_ID not in os.environ:
        text = f"{text} (the API key is taken from {API_ID} and {API_KEY})"
    details = _violations(bad)
    wrong_call = code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE)
    return Problem(
        _listed(details, names) or text,
        exit_code=USAGE if wrong_call else FAILURE,
        code=info.reason,
        details=details,
        metadata=info.metadata,
    )


def never_connected(error: "grpc.RpcError") -> bool:
    """Whether a call failed for want of a connection, so that the server never saw it."""
    import grpc

    return error.code() is grpc.StatusCode.UNAVAILABLE and any(
        words in (error.details() or "") for words in _NO_CONNECTION
    )


def is_unavailable(error: "grpc.RpcError") -> bool:
    """Whether trying again is right."""
    import grpc

    return error.code() is grpc.StatusCode.UNAVAILABLE


def _without_details(code: "grpc.StatusCode", text: str, server: str) -> Problem:
    import grpc

    text = text.splitlines()[0] if text else ""
    if code is grpc.StatusCode.UNAVAILABLE:
        message = _unreachable(text, server)
    elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = f"the server at {server} did not answer in time"
    elif code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"the server at {server} is not a dockgate server of this version: {text}"
    else:
        message = f"{code.name} from {server}: {text}"
    return Problem(message, code=code.name)


def _unreachable(text: str, server: str) -> str:
    """What UNAVAILABLE means when it does not come from a gateway."""
    # gRPC says that it failed to connect to all addresses, and then how with the last one.
    reason = text.rpartition("last error: ")[2]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = reason.rpartition("CERTIFICATE_VERIFY_FAILED: ")[2].removesuffix(": OK")
        return f"the authorities in --tls-ca do not vouch for {server}: {why}"
    if "WRONG_VERSION_NUMBER" in text:
        return f"{server} speaks no TLS; leave out --tls-ca"
    if "Hostname Verification" in text:
        return f"the certificate of {server} is for another host; use a name that it has"
    if "handshak" in text.lower():
        return f"no secure connection to {server}: {reason}"
    if any(words in text for words in _NO_NAME):
        return f"no dockgate server at {server}: the name cannot be resolved"
    if "http1.x" in text:
        return f"{server} speaks HTTP, not gRPC; --server wants the gRPC address"
    if text.startswith("failed to connect") and "Socket closed" in text:
        return (
            f"{server} closes the connection; if it wants TLS, name its authority with --tls-ca, "
            "and if it wants a client certificate, give it one with --tls-cert and --tls-key"
        )
    if any(words in text for words in _NO_CONNECTION):
        return f"no dockgate server at {server} (start one with: dockgate serve)"
    return f"lost the connection to {server}: {reason}"


def _violations(bad: "error_details_pb2.BadRequest") -> list[dict[str, str]]:
    return [
        {"field": _METHOD_PATH.sub("", one.field), "description": one.description}
        for one in bad.field_violations
    ]


def _listed(details: Sequence[Mapping[str, str]], names: Mapping[str, str] | None = None) -> str:
    known = {**_OPTIONS, **(names or {})}
    fields = ((one["field"], one["description"]) for one in details)
    return "; ".join(f"{known.get(field, field)}: {wrong}" for field, wrong in fields)
