"""``dockgate requests``."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from cli.scripted import Run, refuse

from dockgate.downlink.v1 import command_service_pb2, device_request_pb2
from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate.downlink.v1 import device_request_service_pb2_grpc as pb_grpc
from dockgate_server.cli import following
from dockgate_server.errors import DockgateError, FieldViolation, Reason, validation_failed


class Inbox(pb_grpc.DeviceRequestServiceServicer):
    """A DeviceRequestService whose answers are scripted."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[Any] = []

    def _next(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            refuse(context, answer)
        return answer

    def GetDeviceRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def ListDeviceRequests(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def ReplyDeviceRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def WatchDeviceRequests(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        for step in self._next(request, context):
            if isinstance(step, Exception):
                refuse(context, step)
            yield step


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """The scripted server."""
    script = Inbox()
    with futures.ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool)
        pb_grpc.add_DeviceRequestServiceServicer_to_server(script, server)
        port = server.add_insecure_port("127.0.0.1:0")
        monkeypatch.setenv("DOCKGATE_SERVER", f"127.0.0.1:{port}")
        server.start()
        yield script
        server.stop(None).wait()


def _request(**fields: Any) -> device_request_pb2.DeviceRequest:
    request = device_request_pb2.DeviceRequest(
        request_id="r-1",
        vendor="dji",
        device_id="dock-001",
        request_type="a_newer\x1brequest",
        status=device_request_pb2.DEVICE_REQUEST_STATUS_PENDING,
        routing_decision=device_request_pb2.ROUTING_DECISION_INBOX,
    )
    request.inbound_payload.struct_value["count"] = 3
    request.received_at.FromMilliseconds(1_700_000_000_123)
    request.MergeFrom(device_request_pb2.DeviceRequest(**fields))
    return request


ANSWERED = _request(
    status=device_request_pb2.DEVICE_REQUEST_STATUS_REPLIED,
    reply_code=0,
    reply_message="looked at it",
    replied_by="somebody",
)


def test_requests_are_a_table(run: Run, inbox: Inbox) -> None:
    """With who answered; what a device wrote cannot move the cursor."""
    inbox.answers = [pb.ListDeviceRequestsResponse(requests=[_request(), ANSWERED])]
    called = run("requests", "list", "--device", "dock-001", "--status", "pending", "--limit", "5")
    head, first, second = called.out.splitlines()
    assert head.split() == ["REQUEST", "RECEIVED", "DEVICE", "TYPE", "STATUS", "ANSWER"]
    assert first.split()[-1] == "PENDING"
    assert second.endswith("REPLIED  0 by somebody: looked at it")
    assert "\x1b" not in called.out
    pending = device_request_pb2.DEVICE_REQUEST_STATUS_PENDING
    assert inbox.requests == [
        pb.ListDeviceRequestsRequest(page_size=5, device_id="dock-001", statuses=[pending])
    ]


def test_no_requests_is_no_output(run: Run, inbox: Inbox) -> None:
    """A script that counts lines counts none."""
    inbox.answers = [pb.ListDeviceRequestsResponse()]
    called = run("requests", "list")
    assert (called.code, called.out, called.err) == (0, "", "no requests\n")


def test_an_unknown_status_is_a_wrong_call(run: Run, inbox: Inbox) -> None:
    """With those that there are."""
    called = run("requests", "list", "--status", "lost")
    assert called.code == 2
    assert "there are pending, replied, expired" in called.err
    assert inbox.requests == []


def test_a_request_is_shown_whole(run: Run, inbox: Inbox) -> None:
    """A line for each member; for programs as one document."""
    inbox.answers = [pb.GetDeviceRequestResponse(request=ANSWERED)] * 2
    lines = dict(line.split(None, 1) for line in run("requests", "get", "r-1").out.splitlines())
    assert lines["replied_by"] == "somebody"
    assert lines["inbound_payload"] == '{"count":3}'
    assert lines["request_type"] == "a_newer request"
    document = json.loads(run("requests", "get", "r-1", "--json").out)
    assert (document["status"], document["reply_code"]) == ("REPLIED", 0)


def test_a_request_is_answered(run: Run, inbox: Inbox) -> None:
    """With a code, a word and what stands beside them."""
    inbox.answers = [pb.ReplyDeviceRequestResponse(request=ANSWERED)]
    called = run(
        *("requests", "reply", "r-1", "--code", "0", "--message", "looked at it"),
        *("--payload", '{"output": {"files": []}}', "--json"),
    )
    assert json.loads(called.out)["replied_by"] == "somebody"
    wanted = pb.ReplyDeviceRequestRequest(
        request_id="r-1", reply_code=0, reply_message="looked at it"
    )
    wanted.payload.update({"output": {"files": []}})
    assert inbox.requests == [wanted]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--code", "x"),
        ("--code", "2147483648"),
        ("--code", "0", "--payload", "[]"),
        ("--code", "0", "--payload", "{"),
        ("--code", "0", "--payload", "@/no/such/file"),
        ("--code", "0", "--payload", '{"a":' * 100_000),
        ("--code", "0", "--payload", '{"half": "\\ud800"}'),
    ],
)
def test_a_wrong_answer_is_not_sent(run: Run, inbox: Inbox, arguments: tuple[str, ...]) -> None:
    """It is said what would be right."""
    called = run("requests", "reply", "r-1", *arguments)
    assert called.code == 2
    assert called.err.startswith("error: ")
    assert inbox.requests == []


def test_what_is_no_json_is_not_taken_for_a_field(run: Run, inbox: Inbox) -> None:
    """There are none here."""
    called = run("requests", "reply", "r-1", "--code", "0", "--payload", "x")
    assert called.code == 2
    assert called.err.startswith("error: the payload is not JSON: ")
    assert "--field" not in called.err


@pytest.mark.parametrize(("field", "word"), [("request_id", "ID"), ("reply_message", "--message")])
def test_what_is_wrong_is_called_as_on_the_command_line(
    run: Run, inbox: Inbox, field: str, word: str
) -> None:
    """Not as the field that it becomes."""
    inbox.answers = [validation_failed([FieldViolation(field, "is wrong")])]
    called = run("requests", "reply", "", "--code", "0")
    assert (called.code, called.err) == (2, f"error: {word}: is wrong\n")


def test_a_refusal_is_passed_on(run: Run, inbox: Inbox) -> None:
    """With its reason for programs."""
    metadata = {"device_request_id": "r-1", "status": "EXPIRED"}
    inbox.answers = [DockgateError(Reason.DEVICE_REQUEST_CLOSED, "too late", metadata=metadata)]
    called = run("requests", "reply", "r-1", "--code", "0", "--json")
    assert called.code == 1
    said = json.loads(called.err)
    assert (said["code"], said["metadata"]) == ("DEVICE_REQUEST_CLOSED", metadata)


def test_a_watch_goes_on_where_the_connection_broke(
    run: Run, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins anew with those that wait; heartbeats are not shown."""
    monkeypatch.setattr(following, "_FIRST_DELAY", 0.0)
    heartbeat = pb.WatchDeviceRequestsResponse(heartbeat=command_service_pb2.Heartbeat())
    inbox.answers = [
        [heartbeat, pb.WatchDeviceRequestsResponse(request=_request()), ConnectionError()],
        [pb.WatchDeviceRequestsResponse(request=ANSWERED)],
    ]
    called = run("requests", "watch", "--type", "config", "--json")
    assert [json.loads(line)["status"] for line in called.out.splitlines()] == [
        "PENDING",
        "REPLIED",
    ]
    assert json.loads(called.err)["code"] == "RECONNECTING"
    assert inbox.requests == [pb.WatchDeviceRequestsRequest(request_type="config")] * 2
