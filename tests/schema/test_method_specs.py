"""A changed MethodSpec changes what the gateway does to a device, so it shows in a diff.

``method_specs.txt`` holds what every method says about itself, one line per method. A new method is
no change: it gets its line when the file is next written.

What a method says undoes it is read by somebody in a hurry, so it is held to more than the diff.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dockgate.dji.v1 import method_pb2, options_pb2
from dockgate_server.codec import catalogue

SNAPSHOT = Path(__file__).parent / "method_specs.txt"
RENEW = "RENEW=1 .venv/bin/python -m pytest tests/schema/test_method_specs.py"

INVERSES = {
    name: method.spec.inverse for name, method in catalogue.METHODS.items() if method.spec.inverse
}
"""What undoes or stops each method that DJI has such a method for."""

DANGEROUS = {name for name, method in catalogue.METHODS.items() if method.spec.dangerous}

UNDONE_BY_HALF_A_PAIR = {
    "cover_force_close": "opened by the opposite of the gentle way",
    "flighttask_execute": "in the air DJI names the return to home; flighttask_undo is for before",
    "return_specific_home": "DJI has one way to cancel a return, wherever it leads",
    "takeoff_to_point": "in the air DJI names the return to home, as for a flight task",
}
"""Methods whose inverse is itself undone by a third one, and why."""

NO_WAY_BACK = {
    "device_format": "what is erased is gone",
    "device_reboot": "the dock comes back by itself",
    "drc_emergency_landing": "drone_emergency_stop may break it off, or stop the propellers",
    "drc_force_landing": "drone_emergency_stop may break it off, or stop the propellers",
    "drone_control": "ended by the stream's own zeros",
    "drone_emergency_stop": "whatever it broke off has to be ordered anew",
    "drone_format": "what is erased is gone",
    "flighttask_create": "DJI does not say whether it takes off, and so not what ends it",
    "ota_create": "DJI has no method to stop it",
    "poi_circle_speed_set": "undone by itself, with the speed that was",
    "rtk_calibration": "undone by itself, with the position that was",
    "stick_control": "ended by the stream's own sticks in the middle",
    "unlock_license_switch": "undone by itself, the other way",
}
"""Dangerous methods that no other method undoes, and why."""

GOES_ON_FLYING = {"drc_mode_exit", "flighttask_pause", "in_flight_wayline_stop"}
"""To undo a pause is to fly, and to undo the end of direct control is to hand it over: for which a
permission is needed that the pause and the end need not."""


def _as_text(message: Message) -> Iterator[str]:
    """What is set, as ``name=value``."""
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        yield f"{field.name}={','.join(_one(field, one) for one in values)}"


def _one(field: FieldDescriptor, value: Any) -> str:
    if field.message_type is not None:
        return f"({' '.join(_as_text(value))})"
    if field.enum_type is not None:
        name = field.enum_type.values_by_number[value].name
        prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in field.enum_type.name)
        return name.removeprefix(f"{prefix.removeprefix('_')}_").lower()
    return str(value).lower() if isinstance(value, bool) else str(value)


def specs() -> str:
    """Every method, sorted, with its number and its spec."""
    numbers = method_pb2.Method.DESCRIPTOR.fields_by_name
    return "".join(
        f"{name} = {numbers[name].number}: {' '.join(_as_text(method.spec))}\n"
        for name, method in sorted(catalogue.METHODS.items())
    )


def test_no_spec_changes_unseen() -> None:
    """Whether sending twice is safe, what overtakes, what is dangerous, what reports progress."""
    if os.environ.get("RENEW"):
        SNAPSHOT.write_text(specs(), encoding="utf-8", newline="\n")
    known = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    now = dict(line.split(" = ", 1) for line in specs().splitlines())
    changed = [
        f"- {name} = {spec}\n+ {name} = {now.get(name, 'gone')}"
        for name, spec in (line.split(" = ", 1) for line in known)
        if now.get(name) != spec
    ]
    shown = "\n".join(changed)
    assert not changed, f"A MethodSpec has changed:\n{shown}\nIf that is meant: {RENEW}"


def test_an_inverse_is_another_method_on_the_same_topics() -> None:
    """Who could send the one can send the other, and no stream of sticks calls anything back."""
    for name, inverse in INVERSES.items():
        assert inverse in catalogue.METHODS, name
        assert inverse != name
        spec, other = catalogue.METHODS[name].spec, catalogue.METHODS[inverse].spec
        assert spec.channel == other.channel, (name, inverse)
        assert not other.control_stream, (name, inverse)


def test_every_device_that_knows_a_method_knows_its_inverse() -> None:
    """A name that the dock in question has never heard of would be worse than none."""
    for name, inverse in INVERSES.items():
        devices = catalogue.METHODS[name].spec.devices
        assert set(devices) <= set(catalogue.METHODS[inverse].spec.devices), (name, inverse)


def test_two_methods_that_have_an_inverse_each_undo_one_another() -> None:
    """Anything else is a slip, or stands above with its reason."""
    odd = {name for name, inverse in INVERSES.items() if INVERSES.get(inverse, name) != name}
    assert odd == set(UNDONE_BY_HALF_A_PAIR)


def test_undoing_needs_no_permission_that_the_method_does_not() -> None:
    """But for going on with a flight that was paused, or with direct control."""
    needs_more = {name for name in set(INVERSES) - DANGEROUS if INVERSES[name] in DANGEROUS}
    assert needs_more == GOES_ON_FLYING


def test_a_property_has_no_inverse() -> None:
    """It is undone by setting it to what it was."""
    properties = {
        name
        for name, method in catalogue.METHODS.items()
        if method.spec.channel == options_pb2.CHANNEL_PROPERTY_SET
    }
    assert len(properties) == 20
    assert properties.isdisjoint(INVERSES)


def test_what_is_dangerous_says_how_to_undo_it_or_why_it_cannot() -> None:
    """The methods that matter most when one of them was a mistake."""
    assert DANGEROUS - set(INVERSES) == set(NO_WAY_BACK)
