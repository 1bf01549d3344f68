"""An example for every method, made from its fields, their rules and comments."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dockgate_server.docs import limits
from dockgate_server.docs.schema import Event, Field, Method

_GIVEN = re.compile(r'e\.g\.\s+"([^"…]+)"')
_QUOTED = re.compile(r'"([A-Za-z0-9_]+)"')
_TEXTS = (
    (re.compile(r"payload_index$"), "39-0-7"),
    (re.compile(r"video_id$"), "1ZNDH1D0010098/39-0-7/normal-0"),
    (re.compile(r"url$"), "https://example.com/path"),
    (re.compile(r"(^|_)id$"), "id-001"),
    (re.compile(r"(^|_)sn$"), "1ZNDH1D0010098"),
    (re.compile(r"md5$|fingerprint$"), "d41d8cd98f00b204e9800998ecf8427e"),
)
_NUMBERS = (
    (re.compile(r"latitude$"), 22.5799),
    (re.compile(r"longitude$"), 113.9406),
    (re.compile(r"height$|altitude$"), 100.0),
    (re.compile(r"speed$"), 5.0),
)
_UUID = "00000000-0000-4000-8000-000000000000"
_TIME_MS = 1_654_070_968_655
_DOCK = "7CTDM7100B0BJD"
_NULL_DATA = "null"
_LONG = 64


def of(method: Method) -> dict[str, Any]:
    """A payload of the method; of what can do harm, no more than has to be there."""
    return payload(method.fields, only_required=bool(method.spec.get("dangerous")))


def payload(fields: Sequence[Field], *, only_required: bool = False) -> dict[str, Any]:
    """The fields with a value each, but for those that are going out of use."""
    return {
        field.name: _value_or_list(field, only_required)
        for field in fields
        if field.required or not (field.deprecated or only_required)
    }


def message(method: Method, values: dict[str, Any]) -> dict[str, Any]:
    """What the device gets on MQTT when a caller submits these values."""
    data: Any = _on_the_wire(method.fields, values)
    keys = [field.name for field in method.fields if field.wire.get("payload_index_key")]
    for key in keys:
        if key in data:
            data = {data.pop(key): data}
    if not data and method.spec.get("empty_data") == _NULL_DATA:
        data = None
    if method.spec["channel"] == "drc":
        if method.spec.get("seq") == "top_level":
            return {"seq": 1, "method": method.name, "data": data}
        return {"method": method.name, "data": data, "timestamp": _TIME_MS}
    envelope = {"tid": _UUID, "bid": _UUID, "timestamp": _TIME_MS}
    named = {} if method.spec["channel"] == "property_set" else {"method": method.name}
    return {**envelope, **named, "data": data}


def told(event: Event) -> dict[str, Any]:
    """What a dock sends on MQTT when it tells this event."""
    data: Any = _on_the_wire(event.fields, payload(event.fields))
    for field in event.fields:
        if field.wire.get("whole_data"):
            data = data[field.name]
    envelope = {"tid": _UUID, "bid": _UUID, "timestamp": _TIME_MS, "gateway": _DOCK}
    return {**envelope, "method": event.name, "need_reply": 0, "data": data}


def _on_the_wire(fields: Sequence[Field], values: dict[str, Any]) -> dict[str, Any]:
    by_name = {field.name: field for field in fields}
    found: dict[str, Any] = {}
    for name, value in values.items():
        field = by_name[name]
        if field.repeated:
            # {} stands for an empty list.
            found[name] = [_one_on_the_wire(field, one) for one in value]
        else:
            found[name] = _one_on_the_wire(field, value)
    return found


def _one_on_the_wire(field: Field, value: Any) -> Any:
    if field.type == "object":
        return _on_the_wire(field.parts, value)
    as_int = field.wire.get("wire_form") == "bool_as_int"
    return int(value) if as_int else value


def _value_or_list(field: Field, only_required: bool) -> Any:
    value = _value(field, only_required)
    return [value] * _fewest(field.rules) if field.repeated else value


def _fewest(rules: Mapping[str, Any]) -> int:
    return max(1, int(rules.get("repeated", {}).get("min_items", 1)))


def _value(field: Field, only_required: bool) -> Any:
    if field.type == "object":
        return payload(field.parts, only_required=only_required)
    if field.type == "json":
        return {}
    if field.type == "bool":
        return True
    rules = field.rules
    if field.repeated:
        rules = rules.get("repeated", {}).get("items", {})
    if field.type == "text":
        return _text(field, rules)
    if field.values:
        # Not "off" where there is anything else.
        numbers = [value.number for value in field.values]
        return next((number for number in numbers if number), numbers[0])
    return _number(field, limits.schema(rules))


def _text(field: Field, rules: Any) -> str:
    given = _GIVEN.search(field.comment)
    if given:
        return given[1]
    known = next((text for name, text in _TEXTS if name.search(field.name)), None)
    # The words that DJI knows stand in the comment.
    word = _QUOTED.search(field.comment)
    text = known or (word[1] if word else "string")
    return text[: rules.get("string", {}).get("max_len", len(text))]


def _number(field: Field, rules: dict[str, Any]) -> Any:
    if "anyOf" in rules:
        rules = rules["anyOf"][-1]
    if "const" in rules:
        return rules["const"]
    if "enum" in rules:
        return rules["enum"][0]
    if field.bits == _LONG and "time" in field.name:
        return _TIME_MS
    low = rules.get("minimum", rules.get("exclusiveMinimum"))
    high = rules.get("maximum", rules.get("exclusiveMaximum"))
    number = next((number for name, number in _NUMBERS if name.search(field.name)), None)
    if number is None or not _fits(number, low, high):
        number = _harmless(low, high)
    return int(number) if field.type == "integer" else round(float(number), 4)


def _fits(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or low <= number) and (high is None or number <= high)


def _harmless(low: float | None, high: float | None) -> float:
    """Nothing moves at 0, nor in the middle."""
    if low is None and high is None:
        return 1
    if low is None or high is None:
        return low + 1 if low is not None else min(0, (high or 0) - 1)
    return 0 if low <= 0 <= high else low + (high - low) / 2
