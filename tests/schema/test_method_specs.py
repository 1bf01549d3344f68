"""A changed MethodSpec changes what the gateway does to a device, so it shows in a diff.

``method_specs.txt`` holds what every method says about itself, one line per method. A new method is
no change: it gets its line when the file is next written.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dockgate.dji.v1 import method_pb2
from dockgate_server.codec import catalogue

SNAPSHOT = Path(__file__).parent / "method_specs.txt"
RENEW = "RENEW=1 .venv/bin/python -m pytest tests/schema/test_method_specs.py"


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
