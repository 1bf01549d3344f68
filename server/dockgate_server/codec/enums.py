"""The names of enums' values as people know them, without the prefix that protobuf wants."""

import difflib
import functools
import re
from collections.abc import Mapping

from google.protobuf.descriptor import EnumDescriptor

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNSPECIFIED = "UNSPECIFIED"
_MOST_LISTED = 8
"""Values that a sentence can hold; some enums have dozens."""
_LONGEST_NAME = 64
"""Longer text is none; comparing it would cost time."""


def name(enum: EnumDescriptor, number: int) -> str | int:
    """The name of a value; its number where this version knows no name."""
    return names(enum).get(number, number)


@functools.cache
def names(enum: EnumDescriptor) -> Mapping[int, str]:
    """The names by their numbers: ``{0: "IMMEDIATE", 1: "TIMED"}`` of ``TaskType``."""
    prefix = _prefix(enum)
    return {one.number: one.name.removeprefix(prefix) for one in enum.values}


def number(enum: EnumDescriptor, text: str) -> int | None:
    """The number of a value by its name, with or without the prefix, in any case; else None."""
    wanted = text.upper().replace("-", "_").removeprefix(_prefix(enum))
    return next((number for number, one in names(enum).items() if one == wanted), None)


def choices(enum: EnumDescriptor, near: object = None) -> str:
    """The values in words for a sentence: ``0 immediate, 1 timed, 2 conditional``.

    Args:
        enum: Whose values.
        near: What was given instead of one: of many values those are said whose names are like it.
    """
    # Our 0 where DJI has none: no value that anybody may send.
    known = {number: one for number, one in names(enum).items() if one != _UNSPECIFIED}
    listed = list(known)
    if len(known) > _MOST_LISTED:
        like: list[str] = []
        if isinstance(near, str) and len(near) <= _LONGEST_NAME:
            like = difflib.get_close_matches(near.upper(), known.values(), n=3)
        # The most alike first.
        listed = (
            sorted(
                (number for number in known if known[number] in like),
                key=lambda number: like.index(known[number]),
            )
            or listed[:3]
        )
    said = ", ".join(f"{number} {known[number].lower()}" for number in listed)
    return said if len(listed) == len(known) else f"{said}, … ({len(known)} in all)"


@functools.lru_cache(maxsize=256)
def snake_case(name: str) -> str:
    """``submit_command`` for ``SubmitCommand``."""
    return _WORD_START.sub("_", name).lower()


def _prefix(enum: EnumDescriptor) -> str:
    """``COMMAND_STATUS_`` for ``CommandStatus``."""
    return snake_case(enum.name).upper() + "_"
