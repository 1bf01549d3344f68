"""The rules of ``buf.validate`` beside a field, in words for people and as JSON Schema.

What JSON Schema cannot say (most CEL expressions) is left to the words; a document is then looser
than the gateway, never stricter.
"""

import ast
from collections.abc import Mapping
from typing import Any

from dockgate_server.codec.rules import pattern_of

_NUMBERS = ("int32", "int64", "double")
_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.GtE: "minimum",
    ast.Gt: "exclusiveMinimum",
    ast.LtE: "maximum",
    ast.Lt: "exclusiveMaximum",
    ast.Eq: "const",
}
_IGNORE_IF_ZERO = 1
_IGNORE_ALWAYS = 3
_UNITS = {"len": "character", "items": "element"}
_FORMATS = ("uuid", "email", "hostname", "ip", "ipv4", "ipv6", "uri", "uri_ref")


def words(rules: Mapping[str, Any]) -> list[str]:
    """What a value must be, each rule in a few words; ``required`` is not among them."""
    if rules.get("ignore") == _IGNORE_ALWAYS:
        return []
    said: list[str] = []
    for number in (rules[kind] for kind in _NUMBERS if kind in rules):
        said += _range_words(number)
    text = rules.get("string", {})
    said += _size_words(text, "len")
    if "pattern" in text:
        said.append(f"matches `{text['pattern']}`")
    for name in ("prefix", "suffix", "contains", "not_contains"):
        if name in text:
            said.append(f"{name.replace('_', ' ')} `{text[name]}`")
    said += [f"a {name.replace('_', '-').upper()}" for name in _FORMATS if text.get(name)]
    for part in (text, rules.get("enum", {}), rules.get("bool", {})):
        said += _choice_words(part)
    listed = rules.get("repeated", {})
    said += _size_words(listed, "items")
    if listed.get("unique"):
        said.append("no element twice")
    if "items" in listed:
        said += [f"each {one}" for one in words(listed["items"])]
    said += [rule.get("message") or f"`{rule['expression']}`" for rule in rules.get("cel", ())]
    said += [f"`{expression}`" for expression in rules.get("cel_expression", ())]
    if said and rules.get("ignore") == _IGNORE_IF_ZERO:
        said.append("or none" if listed else "or empty" if text else "or 0")
    return said


def over_several_fields(rules: Mapping[str, Any]) -> list[str]:
    """The rules of a message over its fields, in words."""
    said = [rule.get("message") or f"`{rule['expression']}`" for rule in rules.get("cel", ())]
    said += [f"`{expression}`" for expression in rules.get("cel_expression", ())]
    for group in rules.get("oneof", ()):
        number = "exactly one" if group.get("required") else "at most one"
        said.append(f"{number} of {', '.join(f'`{name}`' for name in group['fields'])}")
    return said


def schema(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The rules for one value as members of a JSON Schema."""
    if rules.get("ignore") == _IGNORE_ALWAYS:
        return {}
    found: dict[str, Any] = {}
    for number in (rules[kind] for kind in _NUMBERS if kind in rules):
        members = {
            "gte": "minimum",
            "gt": "exclusiveMinimum",
            "lte": "maximum",
            "lt": "exclusiveMaximum",
        }
        found |= {members[name]: _number(number[name]) for name in members if name in number}
        found |= _choice_schema(number)
    text = rules.get("string", {})
    members = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
    found |= {members[name]: text[name] for name in members if name in text}
    if "len" in text:
        found |= {"minLength": text["len"], "maxLength": text["len"]}
    for part in (text, rules.get("enum", {}), rules.get("bool", {})):
        found |= _choice_schema(part)
    alternatives = [one for rule in rules.get("cel", ()) if (one := _from_cel(rule["expression"]))]
    for one in alternatives:
        found |= one if not found.keys() & one.keys() else {"allOf": [one]}
    if found and rules.get("ignore") == _IGNORE_IF_ZERO:
        return {"anyOf": [{"const": "" if text else 0}, found]}
    return found


def list_schema(rules: Mapping[str, Any]) -> dict[str, Any]:
    """The rules for a list, apart from those for its elements."""
    if rules.get("ignore") == _IGNORE_ALWAYS:
        return {}
    listed = rules.get("repeated", {})
    members = {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"}
    found = {members[name]: listed[name] for name in members if name in listed}
    if rules.get("required"):
        found["minItems"] = max(1, found.get("minItems", 1))
    elif found and rules.get("ignore") == _IGNORE_IF_ZERO:
        return {"anyOf": [{"maxItems": 0}, found]}
    return found


def _range_words(rules: Mapping[str, Any]) -> list[str]:
    low, high = rules.get("gte"), rules.get("lte")
    if low is not None and high is not None:
        return [f"{show(low)} to {show(high)}", *_choice_words(rules)]
    signs = {"gte": "at least", "gt": "more than", "lte": "at most", "lt": "less than"}
    said = [f"{signs[name]} {show(rules[name])}" for name in signs if name in rules]
    return said + _choice_words(rules)


def _size_words(rules: Mapping[str, Any], what: str) -> list[str]:
    low, high = rules.get(f"min_{what}"), rules.get(f"max_{what}")
    unit = _UNITS[what]
    if "len" in rules:
        return [f"exactly {_count(rules['len'], unit)}"]
    if low is not None and high is not None:
        return [f"exactly {_count(low, unit)}" if low == high else f"{low} to {_count(high, unit)}"]
    said = [] if low is None else [f"at least {_count(low, unit)}"]
    return said if high is None else [f"at most {_count(high, unit)}"]


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _choice_words(rules: Mapping[str, Any]) -> list[str]:
    said = []
    if "const" in rules:
        said.append(f"only {show(rules['const'])}")
    if rules.get("in"):
        said.append("one of " + ", ".join(show(one) for one in rules["in"]))
    if rules.get("not_in"):
        said.append("not " + ", ".join(show(one) for one in rules["not_in"]))
    if rules.get("defined_only"):
        said.append("only the listed values")
    return said


def _choice_schema(rules: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "const" in rules:
        found["const"] = _number(rules["const"])
    if rules.get("in"):
        found["enum"] = [_number(one) for one in rules["in"]]
    if rules.get("not_in"):
        found["not"] = {"enum": [_number(one) for one in rules["not_in"]]}
    return found


def _from_cel(expression: str) -> dict[str, Any] | None:
    """A CEL expression that only compares the value with numbers, or matches it; None if not."""
    pattern = pattern_of(expression)
    if pattern is not None:
        return {"pattern": pattern}
    try:
        python = expression.replace("||", " or ").replace("&&", " and ")
        return _from_node(ast.parse(python.strip(), mode="eval").body)
    except (SyntaxError, _NotSaid):
        return None


class _NotSaid(Exception):
    """JSON Schema has no words for it."""


def _from_node(node: ast.expr) -> dict[str, Any]:
    if isinstance(node, ast.BoolOp):
        parts = [_from_node(part) for part in node.values]
        if isinstance(node.op, ast.Or):
            return {"anyOf": parts}
        keys = [key for part in parts for key in part]
        if len(keys) != len(set(keys)):
            return {"allOf": parts}
        return {key: value for part in parts for key, value in part.items()}
    if not (
        isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and isinstance(node.left, ast.Name)
        and node.left.id == "this"
        and type(node.ops[0]) in _COMPARISONS
    ):
        raise _NotSaid
    try:
        value = ast.literal_eval(node.comparators[0])
    except ValueError:
        raise _NotSaid from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotSaid
    return {_COMPARISONS[type(node.ops[0])]: value}


def _number(value: Any) -> Any:
    """A number as people write it: 17 rather than 17.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def show(value: Any) -> str:
    """A value as it stands in JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(_number(value))
