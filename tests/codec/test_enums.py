"""Enums in words: without prefixes, and never more of them than a sentence holds."""

import pytest

from dockgate.dji.v1 import camera_pb2, device_pb2, wayline_pb2
from dockgate.downlink.v1 import command_pb2
from dockgate_server.codec import enums

TASK_TYPE = wayline_pb2.FlighttaskPrepare.DESCRIPTOR.enum_types_by_name["TaskType"]
SHUTTER = camera_pb2.DrcCameraShutterSet.DESCRIPTOR.enum_types_by_name["ShutterValue"]
EXPOSURE = camera_pb2.CameraExposureSet.DESCRIPTOR.enum_types_by_name["ExposureValue"]


def test_names_come_without_the_enums_own() -> None:
    """Also where the enum's name is of several words; a number beyond it stays one."""
    assert enums.names(TASK_TYPE) == {0: "IMMEDIATE", 1: "TIMED", 2: "CONDITIONAL"}
    assert enums.name(command_pb2.CommandStatus.DESCRIPTOR, 1) == "ACCEPTED"
    assert enums.name(TASK_TYPE, 17) == 17


@pytest.mark.parametrize("text", ["TIMED", "timed", "TASK_TYPE_TIMED", "task-type-timed"])
def test_a_value_is_found_however_its_name_is_written(text: str) -> None:
    """As the documents write it, or as somebody types it."""
    assert enums.number(TASK_TYPE, text) == 1


def test_a_name_that_there_is_not_has_no_number() -> None:
    """Nor has one that is nearly right."""
    assert enums.number(TASK_TYPE, "TIMEDD") is None


def test_few_values_are_all_said() -> None:
    """In the order of the schema."""
    assert enums.choices(TASK_TYPE, "x") == "0 immediate, 1 timed, 2 conditional"


def test_what_nobody_may_send_is_not_offered() -> None:
    """Our 0, where DJI has none."""
    sim_slot = device_pb2.SimSlotSwitch.DESCRIPTOR.enum_types_by_name["SimSlot"]
    assert enums.choices(sim_slot) == "1 physical, 2 esim"


def test_of_many_values_those_are_said_that_are_like_what_was_given() -> None:
    """Else the first ones; and how many there are."""
    assert enums.choices(SHUTTER, "one_over_500").startswith("16 one_over_500, ")
    assert enums.choices(SHUTTER, "").startswith("0 one_over_8000, 1 one_over_6400, ")
    assert enums.choices(EXPOSURE, 5.5).endswith(", … (32 in all)")
    assert enums.choices(SHUTTER, "x" * 10_000_000).startswith("0 one_over_8000, ")
    for given in ("one", "ONE_OVER", None):
        assert len(enums.choices(SHUTTER, given)) < 100
