"""``dockgate events``: a line for each event, and going on after a lost connection."""

import json
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from cli.scripted import Run, refuse
from google.protobuf import json_format

from dockgate.downlink.v1 import command_service_pb2, device_pb2, device_service_pb2_grpc
from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.cli import following
from dockgate_server.codec import device_events, job_words
from dockgate_server.errors import DockgateError, FieldViolation, Reason, validation_failed

END = DockgateError(Reason.CURSOR_EXPIRED, "events behind the cursor are no longer kept")


class Devices(device_service_pb2_grpc.DeviceServiceServicer):
    """Answers each watch with the next entry of its list."""

    def __init__(self) -> None:
        self.steps: list[list[Any]] = []
        self.requests: list[pb.WatchEventsRequest] = []
        self.models: dict[str, str] = {}
        self.asked: list[str] = []

    def GetDevice(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.asked.append(request.device_id)
        if request.device_id not in self.models:
            refuse(context, DockgateError(Reason.DEVICE_NOT_FOUND, "no such device"))
        device = device_pb2.Device(model=self.models[request.device_id])
        return pb.GetDeviceResponse(device=device)

    def WatchEvents(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        self.requests.append(request)
        for step in self.steps.pop(0):
            if isinstance(step, Exception):
                refuse(context, step)
            yield step


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[Devices]:
    """A scripted server; the command line finds it by DOCKGATE_SERVER."""
    monkeypatch.setattr(following, "_FIRST_DELAY", 0.0)
    devices = Devices()
    with futures.ThreadPoolExecutor(max_workers=4) as pool:
        server = grpc.server(pool)
        device_service_pb2_grpc.add_DeviceServiceServicer_to_server(devices, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        monkeypatch.setenv("DOCKGATE_SERVER", f"127.0.0.1:{port}")
        yield devices
        server.stop(None).wait()


def event(number: int, **fields: Any) -> pb.WatchEventsResponse:
    """An event of the scripted server."""
    values = {"gateway_id": "dock-001", "method": "hms", "cursor": f"c{number}", **fields}
    message = device_pb2.DeviceEvent(**values)
    json_format.ParseDict({"number": number}, message.data)
    return pb.WatchEventsResponse(event=message, cursor=f"c{number}")


def heartbeat(cursor: str) -> pb.WatchEventsResponse:
    """A sign of life."""
    return pb.WatchEventsResponse(heartbeat=command_service_pb2.Heartbeat(), cursor=cursor)


def test_each_event_is_a_line(run: Run, devices: Devices) -> None:
    """With who told it, what, and whether it asks; a device cannot forge a line."""
    devices.steps = [[heartbeat("c0"), event(1), event(2, method="x\ny", need_reply=True), END]]
    called = run("events", "--device", "drone-001", "--method", "hms", "--method", "x")
    first, second = called.out.splitlines()
    assert first.split(maxsplit=1)[1].split("  ") == ["dock-001", "hms", '{"number":1}']
    assert second.endswith('dock-001  x y  {"number":2}  asks for an answer')
    assert called.code == 2
    assert devices.requests == [pb.WatchEventsRequest(device_id="drone-001", methods=["hms", "x"])]


def test_a_cursor_that_is_wrong_is_called_by_its_option(run: Run, devices: Devices) -> None:
    """As for commands."""
    devices.steps = [[validation_failed([FieldViolation("after", "is wrong")])]]
    assert run("events", "--after", "x").err == "error: --after: is wrong\n"


def told(method: str, data: Any) -> pb.WatchEventsResponse:
    """An event as the server gives it."""
    message = event(1, method=method)
    json_format.ParseDict(data, message.event.data)
    device_events.fill(method, data, message.event.dji)
    return message


@pytest.mark.parametrize(
    ("method", "data", "line"),
    [
        (
            "flighttask_progress",
            {
                "output": {
                    "ext": {
                        "track_id": "",
                        "media_count": 0,
                        "break_point": {"break_reason": 1283},
                    },
                    "progress": {"current_step": 35, "percent": 15},
                    "status": "failed",
                },
                "result": 314004,
            },
            "15 %, failed, media_count 0, break_reason user triggered return to home, step 35: "
            + job_words.step_of_event("flighttask_progress", "35")
            + ", result 314004: not in DJI's list",
        ),
        (
            "hms",
            {"list": [{"level": 2, "code": "0x1", "imminent": 9}, *[{"code": "0x2"}] * 4]},
            "list (level warning, code 0x1, imminent 9) (code 0x2) (code 0x2) … 5 in all",
        ),
        ("charge_open", {"result": 0, "output": {"status": "ok"}}, "ok"),
        (
            "fly_to_point_progress",
            {"result": 314008},
            "result 314008: aircraft task preparation timeout",
        ),
        ("flighttask_ready", {"flight_ids": ["a", "b"]}, "flight_ids a b"),
        ("psdk_floating_window_text", {"value": "two\nlines"}, "value two lines"),
        ("obstacle_avoidance_notify", {"is_final_report": True}, "is_final_report yes"),
        # What the schema cannot say is given as it is.
        ("joystick_invalid_notify", {"reason": "new"}, '{"reason":"new"}'),
        ("track", {"list": []}, '{"list":[]}'),
        ("hms", None, "null"),
    ],
)
def test_an_event_that_the_schema_knows_is_told_in_words(
    run: Run, devices: Devices, method: str, data: Any, line: str
) -> None:
    """In one line, with what its numbers mean; `--json` gives it as it is."""
    devices.steps = [[told(method, data), END]]
    called = run("events")
    assert called.out.rstrip("\n").split("  ", 3)[3] == line
    devices.steps = [[told(method, data), END]]
    assert json.loads(run("events", "--json").out).get("data") == data


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"dock-001": "3-1-0"}, "step 8: Waiting for flight system"),
        ({"dock-001": "3-3-0"}, "step 8: Remote link pairing"),
        ({}, "step 8: " + job_words.step_of_event("flighttask_progress", "8")),
    ],
)
def test_a_step_is_told_in_the_words_of_its_dock(
    run: Run, devices: Devices, models: dict[str, str], words: str
) -> None:
    """Which is looked up once, and only where its model may matter."""
    devices.models = models
    flying = told("flighttask_progress", {"output": {"progress": {"current_step": 8}}})
    devices.steps = [[event(1), flying, flying, END]]
    called = run("events")
    assert [line.split("  ", 3)[3] for line in called.out.splitlines()[1:]] == [words] * 2
    assert devices.asked == ["dock-001"]


def test_a_lost_connection_is_taken_up_behind_the_last_cursor(run: Run, devices: Devices) -> None:
    """Also behind one that came with a sign of life; nothing comes twice."""
    lost = ConnectionError()
    devices.steps = [
        [heartbeat("c0"), lost],
        [heartbeat("c0"), event(1), lost],
        [event(2), heartbeat("c5"), lost],
        [END],
    ]
    called = run("events", "--json", "--after", "c")
    numbers = [json.loads(line)["data"]["number"] for line in called.out.splitlines()]
    assert numbers == [1, 2]
    assert [request.after for request in devices.requests] == ["c", "c0", "c1", "c5"]
    *notices, end = [json.loads(line)["code"] for line in called.err.splitlines()]
    assert notices == ["RECONNECTING"] * 3
    assert end == "CURSOR_EXPIRED"
