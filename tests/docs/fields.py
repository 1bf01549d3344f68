"""The fields of methods and their rules, straight from the stubs."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from dockgate_server.codec import catalogue


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The rules that stand beside a field."""
    return field.GetOptions().Extensions[validate_pb2.field]


def walk(descriptor: Descriptor, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """Every field by its path: ``params.files[].list[]``."""
    for field in descriptor.fields:
        path = f"{prefix}{field.name}{'[]' if field.is_repeated else ''}"
        yield path, field
        if field.message_type is not None:
            yield from walk(field.message_type, f"{path}.")


FIELDS = [
    (name, path, field)
    for name, method in catalogue.METHODS.items()
    for path, field in walk(method.descriptor)
]
"""Method, path and field of all there are."""
