"""The parts of a page that methods and events have in common."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from dockgate_server.docs import comments
from dockgate_server.docs.schema import Event, Field, Method

Described = TypeVar("Described", Method, Event)

DJI_PAGES = "https://developer.dji.com/doc/cloud-api-tutorial/en/api-reference/"
GENERATED = "<!-- Made from proto/ by `make docs`; do not edit. -->"
_TYPES = {"json": "object of any form"}
_SPECIAL = re.compile(r"([|<>*\[\]]|(?<!\w)_|_(?!\w))")
_CODE = re.compile(r"(`[^`]*`)")


def by_domain(of: Sequence[Described]) -> dict[str, list[Described]]:
    """Those of each domain, both in the order of their numbers."""
    groups = itertools.groupby(sorted(of, key=lambda one: one.number), key=lambda one: one.domain)
    return {domain: list(members) for domain, members in groups}


def devices(of: Method | Event) -> str:
    """Which devices know it."""
    return ", ".join(of.spec.get("devices", ())) or "see text"


def summary(of: Method | Event) -> str:
    """What it does or tells, in a sentence."""
    return of.summary or comments.first_sentence(of.description)


def rows(fields: Sequence[Field], prefix: str) -> Iterator[tuple[str, Field]]:
    """The fields and theirs, each by its path."""
    for field in fields:
        path = f"{prefix}{field.name}{'[]' if field.repeated else ''}"
        yield path, field
        yield from rows(field.parts, f"{path}.")


def type_of(field: Field) -> str:
    """The type of a field in a word or two."""
    name = "enum" if field.values else _TYPES.get(field.type, field.type)
    if field.type == "integer" and field.bits != 32 and not field.values:
        name = f"integer ({field.bits} bits)"
    return f"list of {name}" if field.repeated else name


def meaning(field: Field) -> str:
    """What a field means, with what is odd about it on the wire."""
    marks = []
    if field.deprecated:
        marks.append("**Deprecated.**")
    if field.secret:
        marks.append("**Secret.**")
    if field.wire.get("payload_index_key") and "the key" not in field.comment:
        marks.append("On the wire the key under which the other fields stand.")
    if field.wire.get("whole_data") and "whole" not in field.comment:
        marks.append("On the wire the whole of `data`.")
    if field.wire.get("wire_form") == "bool_as_int" and "0 or 1" not in field.comment:
        marks.append("Travels as 0 or 1.")
    return " ".join([cell(comments.without_required(field.comment)), *marks]).strip()


def values(of: Sequence[tuple[str, Field]]) -> Iterator[str]:
    """The values of each enum among the rows."""
    for path, field in of:
        if field.values:
            yield f"\nValues of `{path}`; other numbers are passed on:\n\n"
            for value in field.values:
                yield f"- {value.number} `{value.name}`: {cell(value.comment)}\n"


def escape(text: str) -> str:
    """Text that is not meant as Markdown, apart from code and indented lines."""
    lines = []
    for line in text.split("\n"):
        parts = [line] if line.startswith("    ") else _CODE.split(line)
        outside = [
            part if part.startswith(("`", "    ")) else _SPECIAL.sub(r"\\\1", part)
            for part in parts
        ]
        lines.append("".join(outside))
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text within a table or a list: one line, and no bars of its own."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(
        part.replace("|", "\\|") if part.startswith("`") else _SPECIAL.sub(r"\\\1", part)
        for part in parts
    )
