"""What DJI's documents say about every method, and what the schema must therefore say.

``methods.jsonl`` holds the facts, one method per line, copied from a catalogue of DJI's pages
(v1.16.1 and older) with only the members that are needed here:

- a method: channel, domain, devices, the last part of its pages' names, what stands in ``data``
  when it has no fields (as printed, and in examples), where ``seq`` stands in examples, the events
  that report its progress with the members of each, the members of its reply beside ``result``;
- a field: name, type as DJI calls it, enum keys, limits, what other sources say about these
  (``also_min``, ``also_max``), whether it is missing from a device or document
  (``not_everywhere``), the JSON types that examples show against the declared one;
- ``required``: only where a page says so. ``required_by_code``: what up to three code bases
  enforce. ``required_by_platform``: what the open platform asks of the methods that its pages show.

``events.jsonl`` holds the same of events: of an event whose examples wrap members of its table, how
they are wrapped (``examples_wrap``); of one whose ``data`` is a list, how the schema calls the list
(``data_is_list_of``). Steps that older pages copied from the page on firmware are left out.

Each function here is one general rule. What they do not cover is a line in ``exceptions.txt``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Facts = dict[str, dict[str, str]]
"""For each path, aspects and what is said of each."""

_HERE = Path(__file__).parent
_INT32_MAX = 2**31 - 1
_INTEGER = re.compile(r"-?\d+")

METHODS: list[dict[str, Any]] = [
    json.loads(line) for line in (_HERE / "methods.jsonl").read_text(encoding="utf-8").splitlines()
]

EVENTS: list[dict[str, Any]] = [
    json.loads(line) for line in (_HERE / "events.jsonl").read_text(encoding="utf-8").splitlines()
]


def pascal(name: str) -> str:
    """DJI's name as the name of a message or enum."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def method_facts(method: dict[str, Any]) -> Facts:
    """What the schema must say about a method, its fields and its reply."""
    name = method["method"]
    facts: Facts = {name: _spec(method)}
    fields = list(method["fields"])
    if method.get("below_payload_index"):
        # The value stands below the payload's index, which is a field beside it here.
        fields.insert(0, {"name": "payload_index", "type": "text", "required": True})
    facts.update(_fields(fields, name, is_property=method["channel"] == "property_set"))
    reply = _reply_members(method.get("reply", []))
    if reply:
        facts[f"{name}.reply"] = {"message": f"{pascal(name)}Reply"}
        facts.update(_fields(reply, f"{name}.reply", is_reply=True))
    return facts


def event_facts(event: dict[str, Any]) -> Facts:
    """What the schema must say about an event and its fields. Nothing of it is ever refused."""
    name = f"{event['event']}.event"
    facts: Facts = {
        name: {
            "message": f"{pascal(event['event'])}Event",
            "devices": " ".join(sorted(event["devices"])),
            "deprecated": _yes(event.get("deprecated")),
        }
    }
    facts.update(_fields(event_fields(event), name, is_reply=True))
    return facts


def event_fields(event: dict[str, Any]) -> list[dict[str, Any]]:
    """As examples show them where tables leave out what is around them."""
    fields: list[dict[str, Any]] = event["fields"]
    if "data_is_list_of" in event:
        whole = {"name": event["data_is_list_of"], "type": "array", "item_type": "struct"}
        return [{**whole, "fields": fields}]
    for wrapper in [field for field in fields if "examples_wrap" in field]:
        wrapped = [field for field in fields if field["name"] in wrapper["examples_wrap"]]
        others = [field for field in fields if field not in (wrapper, *wrapped)]
        return [{**wrapper, "fields": wrapped}, *others]
    return fields


def _spec(method: dict[str, Any]) -> dict[str, str]:
    return {
        "message": pascal(method["method"]),
        "channel": {"drc_down": "drc"}.get(method["channel"], method["channel"]),
        "domain": method["domain"],
        "devices": " ".join(sorted(method["devices"])),
        "deprecated": _yes(method.get("deprecated", False) or _all_deprecated(method["fields"])),
        "empty data": "null" if _sends_null(method) else "{}",
        "seq": "top-level" if "top-level" in method.get("seq", []) else "none",
        "progress": " ".join(sorted(method.get("progress", {}))) or "none",
    }


def _all_deprecated(fields: list[dict[str, Any]]) -> bool:
    """A method whose every field is given up is given up itself."""
    return bool(fields) and all(field.get("deprecated") for field in fields)


def _sends_null(method: dict[str, Any]) -> bool:
    """As the examples show it; as it is printed where there is none."""
    shown = method.get("empty_in_examples")
    return bool(shown == ["null"] if shown else method.get("data_null"))


def _reply_members(reply: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what every job reports: `output` with a `status` and no more."""
    return [
        member
        for member in reply
        if [part["name"] for part in member.get("fields", [])] != ["status"]
    ]


def _fields(
    fields: list[dict[str, Any]], path: str, *, is_property: bool = False, is_reply: bool = False
) -> Facts:
    facts: Facts = {}
    for field in fields:
        here = f"{path}.{field['name']}"
        required = is_property or _required(field)
        facts[here] = dict(_shape(field, in_property=is_property))
        if not is_reply:
            facts[here].update(_rules(field, facts[here]["type"], required=required))
        facts.update(_fields(field.get("fields", []), here, is_reply=is_reply))
    return facts


def _shape(field: dict[str, Any], *, in_property: bool) -> Iterator[tuple[str, str]]:
    """Type, name of the type, numbers of the enum, form on the wire."""
    kind = _kind(field)
    yield "type", f"repeated {kind}" if field["type"] == "array" else kind
    yield "deprecated", _yes(field.get("deprecated", False))
    if kind in ("enum", "message"):
        # Java allows no inner class with the name of the outer one, which a property's would have.
        yield "type name", "Value" if in_property else pascal(field["name"])
    if kind == "enum":
        yield "numbers", " ".join(map(str, sorted(map(int, field["enum"]))))
    if kind == "bool":
        yield "on the wire", "0/1" if "int" in field.get("example_types", []) else "false/true"


def _kind(field: dict[str, Any]) -> str:
    """The type of one element. Where examples show another JSON type than is declared, they count.

    An enum of which no document lists a value is a number.
    """
    is_list = field["type"] == "array"
    item = field.get("item_type", "struct" if field.get("fields") else "unknown")
    declared: str = item if is_list else field["type"]
    keys, shown = field.get("enum", []), field.get("example_types", [])
    if declared == "enum_string" and "int" in shown:
        return "enum" if all(_INTEGER.fullmatch(key) for key in keys) else "double"
    if declared == "enum_int":
        return "string" if "text" in shown else "enum" if keys else "int32"
    if declared == "int":
        return "int64" if _is_long(field) else "int32"
    kinds = {"text": "string", "enum_string": "string", "float": "double", "struct": "message"}
    kinds["date"] = "string"
    return kinds.get(declared, declared)


def _is_long(field: dict[str, Any]) -> bool:
    """Times in milliseconds, and what may pass 2^31."""
    return (
        field.get("unit") == "ms"
        or field.get("max_length") == 13
        or field.get("bits") == 64
        or _limit(field, "max", max) > _INT32_MAX
    )


def _limit(field: dict[str, Any], key: str, widest: Any) -> float:
    """The widest limit that any source names; a page's is never narrowed by another source."""
    named = [field[key]] if key in field else []
    named += field.get(f"also_{key}", [])
    return widest(named) if named else float("nan")


def _required(field: dict[str, Any]) -> bool:
    """The platform's pages first, then DJI's, then all code bases together; never on some devices.

    Where sources differ, accepting is preferred.
    """
    if "required_by_platform" in field:
        return bool(field["required_by_platform"])
    if field.get("not_everywhere") or field.get("required") is False:
        return False
    code = field.get("required_by_code", [])
    return bool(field.get("required") or (code and all(code)))


def _rules(field: dict[str, Any], kind: str, *, required: bool) -> Iterator[tuple[str, str]]:
    yield "required", _yes(required)  # a required text is not empty
    if kind == "string":
        unit = " bytes" if field.get("unit") == "byte" else ""
        yield "max length", f"{field.get('max_length', 'none')}{unit}"
    if kind == "enum" and "0" not in field["enum"]:
        yield "UNSPECIFIED", "refused"
    if kind in ("int32", "int64", "double"):
        low, high = _limit(field, "min", min), _limit(field, "max", max)
        if "max_length" in field:
            low, high = 0, 10 ** field["max_length"] - 1
        yield "range", f"{_number(low)}..{_number(high)}"
    if kind.startswith("repeated"):
        size = str(field.get("size", ""))
        yield "size", f"{size or (1 if required else '')}..{size}"


def documented_words(field: dict[str, Any]) -> list[str]:
    """Patterns that the comment of a field has to hold: its unit, the values nothing enforces."""
    words = [f"(?i:{_UNITS[field['unit']]})"] if "unit" in field else []
    kind = _kind(field)
    if "enum" in field and kind in ("string", "double"):
        quote = '"' if kind == "string" else ""
        words += [f"{quote}{re.escape(key)}{quote}" for key in field["enum"]]
    return words


def documented_range(field: dict[str, Any]) -> list[str]:
    """The pattern of its range, for the comment of a field that nothing holds to it."""
    if "min" not in field or "max" not in field:
        return []
    low, high = field["min"], field["max"]
    return [re.escape(f"{low:g}..{high:g}") + r"\b"]


_UNITS = {
    "m": r"\bmetres?\b",
    "m/s": r"\bm/s\b",
    "deg/s": r"\bdegrees per second\b",
    "rad/s": r"\bradians per second\b|\brad/s\b",
    "deg": r"\bdegrees\b",
    "degC": r"Celsius",
    "Hz": r"\bHz\b",
    "s": r"\bseconds?\b",
    "ms": r"\bmilliseconds?\b|\bin the unit of start_time\b",
    "byte": r"\bbytes\b",
    "min": r"\bminutes\b",
    "%": r"\bpercent\b",
}


def _number(value: float) -> str:
    return "" if value != value else f"{value:g}" if abs(value) < 1e6 else str(int(value))


def _yes(value: object) -> str:
    return "yes" if value else "no"
