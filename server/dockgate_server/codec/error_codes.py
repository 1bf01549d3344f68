"""DJI's error codes in words. Source: DJI's error code page, up to v1.16.1.

A code has six digits, ABCDEF: A says who speaks, BC which of its modules, DEF what is wrong.
Devices also answer with codes that DJI has not published; nothing here depends on a code being
known. The texts lie in ``error_codes.tsv`` and are read when the first one is asked for.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

UNLISTED = "not in DJI's list"
"""What to say of a code that the dictionary does not have, where there is room for no more."""

_CODE = re.compile(r"(?P<source>\d)(?P<module>\d\d)\d{3}", re.ASCII)
_SOURCES = {"3": "device", "5": "device", "4": "pilot2", "6": "pilot2"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that a code says."""

    code: str
    source: str | None
    """``device`` (a dock or drone) or ``pilot2`` (the DJI Pilot 2 app); None where its first
    digit does not tell."""
    module: str | None
    """Two digits; None for what does not have the form of DJI's codes."""
    label: str | None
    """None for a code that is not in the dictionary."""


def label(code: str | int) -> str | None:
    """What DJI says about the code, or None when it is not in the dictionary."""
    return _labels().get(str(code))


def explain(code: str | int) -> Explanation:
    """What can be told of the code, also where the dictionary does not have it."""
    text = str(code)
    parts = _CODE.fullmatch(text)
    return Explanation(
        code=text,
        source=_SOURCES.get(parts["source"]) if parts else None,
        module=parts["module"] if parts else None,
        label=label(text),
    )


def sentence(code: str | int) -> str:
    """What to say of a device that answered with the code and no words of its own."""
    said = f"the device answered with result {code}"
    words = label(code)
    return said if words is None else f"{said}: {words}"


@functools.cache
def _labels() -> Mapping[str, str]:
    table = resources.files(__package__).joinpath("error_codes.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t") for line in table.splitlines())
