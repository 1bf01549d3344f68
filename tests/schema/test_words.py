"""The words of the public schema and those of the model are the same, one to one."""

import enum
import re
from pathlib import Path

import grpc
import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from dockgate.downlink.v1 import command_pb2, error_reason_pb2
from dockgate_server.errors import Reason
from dockgate_server.model.command import CompletionBasis, EventKind, FailureCode, JobState, Status

PROTO = Path(__file__).parents[2] / "proto" / "dockgate" / "downlink" / "v1" / "error_reason.proto"


@pytest.mark.parametrize(
    ("words", "schema", "prefix"),
    [
        (Status, command_pb2.CommandStatus, "COMMAND_STATUS_"),
        (CompletionBasis, command_pb2.CompletionBasis, "COMPLETION_BASIS_"),
        (EventKind, command_pb2.CommandEventKind, "COMMAND_EVENT_KIND_"),
        (JobState, command_pb2.JobState, "JOB_STATE_"),
        (Reason, error_reason_pb2.ErrorReason, "ERROR_REASON_"),
        (FailureCode, error_reason_pb2.FailureCode, "FAILURE_CODE_"),
    ],
)
def test_schema_and_model_have_the_same_words_in_the_same_order(
    words: type[enum.StrEnum], schema: EnumTypeWrapper, prefix: str
) -> None:
    """A word that only one of them has would fail when it is first used."""
    assert schema.Name(0) == f"{prefix}UNSPECIFIED"
    assert [prefix + word for word in words] == schema.keys()[1:]
    assert all(word.name == word.value for word in words)


def _documented() -> dict[str, str]:
    """The comment above each reason."""
    text = PROTO.read_text(encoding="utf-8").partition("enum ErrorReason {")[2].partition("\n}")[0]
    found = re.findall(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) = \d+;", text)
    return {name: " ".join(comment.replace("//", " ").split()) for comment, name in found}


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_the_codes_that_its_comment_promises(reason: Reason) -> None:
    """The comment in the schema is what integrators program against."""
    comment = _documented()[reason]
    first = comment.partition(".")[0]
    http = re.search(r"HTTP (\d{3})", first)
    codes = [code.name for code in grpc.StatusCode if re.search(rf"\b{code.name}\b", first)]
    assert http or codes
    if http:
        assert int(http[1]) == reason.http_status
    if codes:
        assert codes == [reason.grpc_code]
    assert "etadata" in comment, "the keys of the metadata, or that there are none"


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_codes_that_exist(reason: Reason) -> None:
    """A client error in HTTP is no server error in gRPC, and the other way round."""
    assert reason.grpc_code in grpc.StatusCode.__members__
    server_errors = {"INTERNAL", "UNAVAILABLE"}
    assert (reason.http_status >= 500) == (reason.grpc_code in server_errors)


def test_a_job_ends_where_the_schema_says() -> None:
    """OK, FAILED, CANCELED, REJECTED, TIMEOUT and PARTIALLY_DONE are ends."""
    ends = {state.name for state in JobState if state.is_end}
    assert ends == {"OK", "FAILED", "CANCELED", "REJECTED", "TIMEOUT", "PARTIALLY_DONE"}


def test_a_command_ends_where_the_schema_says() -> None:
    """ACCEPTED and DELIVERED are passing; the others are ends."""
    assert {status.name for status in Status if not status.is_end} == {"ACCEPTED", "DELIVERED"}
