"""What the schema says of the requests of devices."""

from dockgate.dji.v1 import options_pb2, request_pb2

_PREFIX = "REQUEST_TYPE_"

_KNOWN = frozenset(
    name.removeprefix(_PREFIX).lower()
    for name in request_pb2.RequestType.keys()  # noqa: SIM118
)

_DANGEROUS = frozenset(
    value.name.removeprefix(_PREFIX).lower()
    for value in request_pb2.RequestType.DESCRIPTOR.values
    if value.GetOptions().Extensions[options_pb2.request_spec].dangerous
)


def is_known(request_type: str) -> bool:
    """Whether the schema has it."""
    return request_type in _KNOWN


def is_dangerous(request_type: str) -> bool:
    """Whether the answer to a request sets an aircraft moving; not of one that nobody knows."""
    return request_type in _DANGEROUS
