"""``dockgate devices``."""

import json
import os
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from cli.scripted import Run, refuse

from dockgate.downlink.v1 import device_pb2, device_service_pb2_grpc
from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.cli import acl
from dockgate_server.errors import DockgateError, FieldViolation, Reason, validation_failed

DOCK = device_pb2.Device(
    device_id="roof",
    serial_number="SN-DOCK",
    gateway_id="SN-DOCK",
    model="3-2-0",
    model_name="DJI Dock 2",
    kind=device_pb2.DEVICE_KIND_DOCK,
    presence=device_pb2.PRESENCE_ONLINE,
)
UNHEARD_OF = device_pb2.Device(
    device_id="bird", serial_number="SN-2", gateway_id="SN-DOCK", presence=2
)
FORBIDDEN = DockgateError(Reason.FORBIDDEN, "lacks the scope open:command:read")


class Devices(device_service_pb2_grpc.DeviceServiceServicer):
    """A DeviceService whose answers are scripted."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[Any] = []

    def _next(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            refuse(context, answer)
        return answer

    def GetDevice(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def ListDevices(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def RegisterDevice(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def RemoveDevice(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._next(request, context)

    def WatchDevices(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        yield from self._next(request, context)
        refuse(context, ConnectionError())


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[Devices]:
    """The scripted server."""
    script = Devices()
    with futures.ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool)
        device_service_pb2_grpc.add_DeviceServiceServicer_to_server(script, server)
        monkeypatch.setenv(
            "DOCKGATE_SERVER", f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        )
        server.start()
        yield script
        server.stop(None).wait()


def test_devices_are_a_table(run: Run, devices: Devices) -> None:
    """Every page of them; a model without a name by its number."""
    first = pb.ListDevicesResponse(devices=[DOCK], next_page_token="p2")
    devices.answers = [first, pb.ListDevicesResponse(devices=[UNHEARD_OF])]
    called = run("devices", "list", "--gateway", "SN-DOCK")
    head, dock, drone = called.out.splitlines()
    assert head.split()[:2] == ["DEVICE", "SERIAL"]
    assert dock.split() == ["roof", "SN-DOCK", "SN-DOCK", "DJI", "Dock", "2", "ONLINE"]
    assert drone.split() == ["bird", "SN-2", "SN-DOCK", "OFFLINE"]
    assert [one.page_token for one in devices.requests] == ["", "p2"]


def test_no_devices_is_no_output(run: Run, devices: Devices) -> None:
    """A script that counts lines counts none."""
    devices.answers = [pb.ListDevicesResponse()]
    called = run("devices", "list")
    assert (called.code, called.out, called.err) == (0, "", "no devices\n")


def test_a_device_is_shown_with_its_state(run: Run, devices: Devices) -> None:
    """For programs as one document."""
    device = device_pb2.Device()
    device.CopyFrom(DOCK)
    device.state.cover_state = 1
    device.state.osd["mode_code"] = 0
    devices.answers = [pb.GetDeviceResponse(device=device)] * 2
    called = run("devices", "get", "roof")
    assert "model_name      DJI Dock 2\n" in called.out
    assert "cover_state     1\n" in called.out
    document = json.loads(run("devices", "get", "roof", "--json").out)
    assert document["state"] == {"cover_state": 1, "osd": {"mode_code": 0}}
    assert devices.requests[0].device_id == "roof"


def test_a_device_that_is_not_known_is_a_failure(run: Run, devices: Devices) -> None:
    """One line."""
    devices.answers = [DockgateError(Reason.DEVICE_NOT_FOUND, "no device 'x' is known")]
    called = run("devices", "get", "x")
    assert called.code == 1
    assert called.err.count("\n") == 1
    assert "no device 'x' is known" in called.err


def test_a_watch_shows_what_comes_and_goes(run: Run, devices: Devices) -> None:
    """Until the connection ends, which it says."""
    removed = pb.WatchDevicesResponse(removed_device_id="bird")
    complete = pb.WatchDevicesResponse(complete=pb.WatchDevicesResponse.Complete())
    devices.answers = [[pb.WatchDevicesResponse(device=DOCK), complete, removed]]
    called = run("devices", "watch", "--state")
    assert called.out.splitlines() == ["roof  ONLINE", "bird  REMOVED"]
    assert called.code == 1
    assert devices.requests[0].with_state


def test_a_name_is_given_and_taken(run: Run, devices: Devices) -> None:
    """And what the server makes of it is shown."""
    register = ("devices", "register", "roof", "--serial-number", "SN-DOCK")
    answers = [pb.ListDevicesResponse(), pb.RegisterDeviceResponse(device=DOCK)]
    devices.answers = answers * 2
    assert run(*register).out == "roof is SN-DOCK, reached through SN-DOCK\n"
    assert devices.requests[1] == pb.RegisterDeviceRequest(
        device_id="roof", serial_number="SN-DOCK"
    )
    assert "taken_from" not in json.loads(run(*register, "--json").out)


NAMELESS = device_pb2.Device(device_id="SN-DOCK", serial_number="SN-DOCK", gateway_id="SN-DOCK")
SAYS_HOW = "is forgotten; it is known again when it announces itself"


@pytest.mark.parametrize(
    ("device", "named", "way_back"),
    [
        (DOCK, "roof, that is SN-DOCK,", "SN-DOCK"),
        (NAMELESS, "SN-DOCK", "SN-DOCK"),
        (UNHEARD_OF, "bird, that is SN-2,", "SN-2 --gateway SN-DOCK --force"),
    ],
)
def test_what_is_forgotten_is_named_with_the_way_back(
    run: Run,
    devices: Devices,
    monkeypatch: pytest.MonkeyPatch,
    device: device_pb2.Device,
    named: str,
    way_back: str,
) -> None:
    """A dock that stays connected announces nothing, and its commands are refused from then on.

    Its gateway may be forgotten as well.
    """
    monkeypatch.setattr(sys, "argv", ["dockgate"])
    said = f"{named} {SAYS_HOW}, or by: dockgate devices register {way_back}"
    devices.answers = [pb.GetDeviceResponse(device=device), pb.RemoveDeviceResponse()] * 2
    assert run("devices", "remove", device.device_id).out == f"{said}\n"
    # The server that was asked, where that is not the usual one.
    server = os.environ["DOCKGATE_SERVER"]
    monkeypatch.setenv("DOCKGATE_SERVER", "127.0.0.1:1")
    devices.answers = [pb.GetDeviceResponse(device=device), pb.RemoveDeviceResponse()] * 2
    elsewhere = run("devices", "remove", device.device_id, "--server", server)
    assert elsewhere.out == f"{said} --server {server}\n"
    monkeypatch.setenv("DOCKGATE_SERVER", server)
    assert json.loads(run("devices", "remove", device.device_id, "--json").out) == {
        "removed_device_id": device.device_id,
        "serial_number": device.serial_number,
    }


def test_who_may_not_look_is_told_of_the_name_alone(run: Run, devices: Devices) -> None:
    """A key may remove devices without the scope for reading."""
    devices.answers = [FORBIDDEN, pb.RemoveDeviceResponse()]
    assert run("devices", "remove", "roof").out == f"roof {SAYS_HOW}\n"


def test_a_name_that_another_device_had_is_said_to_be_taken(run: Run, devices: Devices) -> None:
    """Commands by that name went elsewhere until now."""
    register = ("devices", "register", "roof", "--serial-number", "SN-2")
    renamed = device_pb2.Device(device_id="roof", serial_number="SN-2", gateway_id="SN-DOCK")
    answers = [
        pb.ListDevicesResponse(devices=[UNHEARD_OF, DOCK]),
        pb.RegisterDeviceResponse(device=renamed),
    ]
    devices.answers = answers * 2
    assert run(*register).out.splitlines() == [
        "roof is SN-2, reached through SN-DOCK",
        "roof was SN-DOCK before, which has no name now",
    ]
    assert json.loads(run(*register, "--json").out)["taken_from"] == "SN-DOCK"


def test_help_says_how_a_name_alone_is_taken_away(run: Run) -> None:
    """Without forgetting the device."""
    assert "register SERIAL_NUMBER" in " ".join(run("devices", "remove", "--help").out.split())
    assert "dockgate devices register 7CTDM7100B0BJD\n" in (
        run("devices", "register", "--help").out
    )


@pytest.mark.parametrize(
    ("arguments", "answers", "word"),
    [
        (("register", "a b"), 1, "NAME"),
        (("register", "a b", "--serial-number", "SN"), 2, "NAME"),
        (("remove", ""), 1, "ID"),
        (("get", ""), 1, "ID"),
        (("watch", "--device", "x"), 1, "--device"),
        (("register", "a", "--gateway", "x"), 1, "--gateway"),
    ],
)
def test_what_is_wrong_is_called_as_on_the_command_line(
    run: Run, devices: Devices, arguments: tuple[str, ...], answers: int, word: str
) -> None:
    """Not as the field that it becomes."""
    wrong = validation_failed([FieldViolation("device_id", "is wrong")])
    devices.answers = [pb.ListDevicesResponse(), wrong][-answers:]
    called = run("devices", *arguments)
    assert (called.code, called.err) == (2, f"error: {word}: is wrong\n")


def test_a_serial_number_that_is_wrong_is_called_by_its_option(run: Run, devices: Devices) -> None:
    """The same for the other words of a call."""
    wrong = validation_failed([FieldViolation("serial_number", "is wrong")])
    devices.answers = [pb.ListDevicesResponse(), wrong]
    called = run("devices", "register", "a", "--serial-number", "b c")
    assert called.err == "error: --serial-number: is wrong\n"


BIRD = ("devices", "register", "bird", "--serial-number", "SN-2", "--gateway")
UNKNOWN = DockgateError(Reason.DEVICE_NOT_FOUND, "no device is known")


@pytest.mark.parametrize("name", ["SN-DOCK", "roof"])
def test_a_gateway_that_is_known_is_registered_by_its_number(
    run: Run, devices: Devices, name: str
) -> None:
    """However it is named."""
    devices.answers = [
        pb.GetDeviceResponse(device=DOCK),
        pb.ListDevicesResponse(),
        pb.RegisterDeviceResponse(device=UNHEARD_OF),
    ]
    assert run(*BIRD, name).out == "bird is SN-2, reached through SN-DOCK\n"
    assert [devices.requests[0].device_id, devices.requests[2].gateway_id] == [name, "SN-DOCK"]


@pytest.mark.parametrize(
    ("slip", "hint"),
    [("SN-DOCX", "did you mean SN-DOCK? Else"), ("7CTDM7100B0BJD", "if it is to come,")],
)
def test_a_gateway_of_which_nothing_is_known_is_refused(
    run: Run, devices: Devices, slip: str, hint: str
) -> None:
    """Before anything is registered; programs are told as well."""
    for options in ((), ("--json",)):
        devices.requests.clear()
        devices.answers = [UNKNOWN, pb.ListDevicesResponse(devices=[DOCK, UNHEARD_OF])]
        called = run(*BIRD, slip, *options)
        assert (called.code, called.out) == (2, "")
        assert f"no device '{slip}' is known; {hint} register it first" in called.err
        assert called.err.count("\n") == 1
        assert len(devices.requests) == 2
    assert json.loads(called.err)["code"] == "DEVICE_NOT_FOUND"


def test_a_device_that_is_reached_through_another_is_no_gateway(run: Run, devices: Devices) -> None:
    """Commands through it would go to nobody."""
    devices.answers = [pb.GetDeviceResponse(device=UNHEARD_OF)]
    called = run("devices", "register", "egg", "--gateway", "bird")
    assert called.code == 2
    assert "it is reached through SN-DOCK" in called.err


@pytest.mark.parametrize(
    ("call", "gateway"),
    [
        ((*BIRD, "SN-NEW", "--force"), "SN-NEW"),
        (("devices", "register", "d", "--serial-number", "SN-1", "--gateway", "SN-1"), "SN-1"),
        (("devices", "register", "SN-1", "--gateway", "SN-1"), "SN-1"),
    ],
)
def test_what_is_meant_so_and_a_gateway_itself_are_not_looked_up(
    run: Run, devices: Devices, call: tuple[str, ...], gateway: str
) -> None:
    """A fleet may be registered before its docks are there."""
    devices.answers = [pb.RegisterDeviceResponse(device=DOCK)]
    if "--serial-number" in call:  # who has had the name is looked up
        devices.answers.insert(0, pb.ListDevicesResponse())
    assert run(*call).code == 0
    assert devices.requests[-1].gateway_id == gateway
    assert not any(isinstance(one, pb.GetDeviceRequest) for one in devices.requests)


def test_who_may_not_look_must_know(run: Run, devices: Devices) -> None:
    """A key may register devices without the scope for reading."""
    devices.answers = [FORBIDDEN, FORBIDDEN, pb.RegisterDeviceResponse(device=UNHEARD_OF)]
    assert run(*BIRD, "SN-NEW").code == 0


def test_acl_gives_every_drone_to_the_dock_that_announced_it(run: Run, devices: Devices) -> None:
    """Beside what every dock may; over all pages."""
    devices.answers = [
        pb.ListDevicesResponse(devices=[DOCK], next_page_token="more"),
        pb.ListDevicesResponse(devices=[UNHEARD_OF]),
    ]
    result = run("devices", "acl", "--gateway-user", "gateway")
    assert result.code == 0
    assert result.out == acl.write({"SN-DOCK": ["SN-2"]}, "gateway")
    devices.answers = [pb.ListDevicesResponse(devices=[DOCK, UNHEARD_OF])]
    document = json.loads(run("devices", "acl", "--gateway-user", "gateway", "--json").out)
    assert document == {"acl": result.out, "limited": False}
    assert "user SN-DOCK\ntopic write thing/product/SN-2/osd\n" in result.out


def test_acl_with_a_limited_key_is_refused(run: Run, devices: Devices) -> None:
    """It would lock out what the key may not see; who wants that says so, and the list does."""
    devices.answers = [pb.ListDevicesResponse(devices=[DOCK], limited=True)]
    result = run("devices", "acl")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("error: this key is limited to some devices, and a list that has")
    devices.answers = [pb.ListDevicesResponse(devices=[DOCK], limited=True)]
    result = run("devices", "acl", "--partial")
    assert result.code == 0
    assert acl.PARTIAL in result.out
    assert "user SN-DOCK\n" in result.out
