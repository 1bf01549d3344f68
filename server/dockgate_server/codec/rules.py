"""The rules that stand beside the fields in the schema (``buf.validate``), applied."""

import protovalidate
from google.protobuf.message import Message

from dockgate_server.errors import FieldViolation

_validator = protovalidate.Validator()


def violations(message: Message) -> list[FieldViolation]:
    """Every rule that the message breaks, with the path of the field."""
    return [
        FieldViolation(_path(violation), violation.proto.message)
        for violation in _validator.collect_violations(message)
    ]


def warm_up(message: Message) -> None:
    """Compile the rules of a message type now, not with the first caller's request."""
    _validator.collect_violations(message)


def _path(violation: protovalidate.Violation) -> str:
    path = ""
    field = violation.proto.field
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}"
        if element.subscript is not None:
            path += f"[{element.subscript.value}]"
    return path.removeprefix(".")
