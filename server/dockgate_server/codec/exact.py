"""Numbers in JSON that a ``google.protobuf.Struct`` would change, as it holds doubles."""

from collections.abc import Iterator

from dockgate_server.errors import FieldViolation

_EXACT = 2**53
"""Up to here a double holds every whole number."""

_LEAST, _BEYOND = -(2**63), 2**64
"""What the parser reads as whole numbers; all others are doubles to it."""

_WHY = "must be a number that a double holds exactly, as all whole ones up to 2^53 are, or text"


def inexact(value: object, where: str) -> Iterator[FieldViolation]:
    """The whole numbers that would not be the same afterwards.

    Args:
        value: The parsed JSON. A number of more than 64 bits was read as a double, and may have
            been changed by that.
        where: What to put before their paths.
    """
    if isinstance(value, dict):
        for name, one in value.items():
            yield from inexact(one, f"{where}.{name}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from inexact(one, f"{where}[{index}]")
    elif isinstance(value, int):
        if abs(value) > _EXACT and not (_LEAST <= value < _BEYOND and int(float(value)) == value):
            yield FieldViolation(where, _WHY)
    # As a double the least one may as well have been a smaller number.
    elif isinstance(value, float) and value.is_integer() and not _LEAST < value < _BEYOND:
        yield FieldViolation(where, _WHY)
