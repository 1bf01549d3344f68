"""A payload from the command line: JSON, ``--field value``, or both. Pure: text in, values out.

The types come from the method's descriptor, so that ``--payload_index 39`` is text and
``--height 39`` a number. Whether the values are right is said by the same code that the server
runs (``codec/dji_json.py``).
"""

import difflib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from dockgate_server.cli.problem import Problem, usage
from dockgate_server.codec import enums, redaction

_WHOLE = frozenset(
    {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
    | {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
)
_REAL = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_BOOLS = {"true": True, "false": False, "1": True, "0": False}

_AS_FIELDS = "; fields are given as --field value"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value belongs."""

    field: FieldDescriptor
    is_list: bool
    """Whether the value is the whole list, not one element of it."""
    put: Callable[[Any], None]

    @property
    def is_scalar(self) -> bool:
        return not self.is_list and self.field.message_type is None

    @property
    def kind(self) -> str:
        """What the value must be, in words."""
        return "a list" if self.is_list else _kind(self.field)


def read(
    descriptor: Descriptor,
    method: str,
    tokens: Sequence[str],
    own_options: Sequence[str],
    read_source: Callable[[str], str],
) -> dict[str, Any]:
    """The payload as DJI's JSON object.

    Args:
        descriptor: The method's message.
        method: Its name, for error messages.
        tokens: What follows the method on the command line, without the command's own options.
        own_options: The command's own options, e.g. ``--device``: suggested for typing errors.
        read_source: Gives the text behind ``-`` or ``@file``.

    Raises:
        Problem: Says which option is wrong and what would be right.
    """
    payload: dict[str, Any] = {}
    given: set[str] = set()
    seen_json = False
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("--"):
            if seen_json:
                again = _quoted(token)
                raise usage(f"{again}: there is one payload, and it has been given already")
            seen_json = True
            payload = json_object(token, read_source, _AS_FIELDS) | payload
            continue
        option, has_value, value = token.partition("=")
        place = _find(descriptor, method, option, own_options, payload)
        if not has_value:
            value = _next_value(place, option, rest)
        if option in given:
            raise usage(f"{option}: is given twice")
        given.add(option)
        place.put(_value(place, option, value))
    return payload


def json_object(
    word: str, read_source: Callable[[str], str], otherwise: str = ""
) -> dict[str, Any]:
    """The JSON object that a word of the command line is, or names.

    Args:
        word: The object, ``-`` or ``@file``.
        read_source: Gives the text behind ``-`` or ``@file``.
        otherwise: A hint for who has given something else.

    Raises:
        Problem: It is none.
    """
    text = read_source(word) if word == "-" or word.startswith("@") else word
    try:
        value = _read_json(text, "the payload")
    except ValueError as wrong:
        hint = "" if text.lstrip()[:1] in ("{", "[") else otherwise
        raise usage(f"the payload is not JSON: {wrong}{hint}") from None
    if not isinstance(value, dict):
        example = '{"payload_index": "39-0-7"}'
        raise usage(f"the payload must be an object, like {example}: {_quoted(word)}")
    return value


def _read_json(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise usage(f"{what} is nested too deep") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _next_value(place: _Place, option: str, rest: list[str]) -> str:
    is_flag = place.is_scalar and place.field.type == FieldDescriptor.TYPE_BOOL
    if rest and not rest[0].startswith("--") and (not is_flag or rest[0].lower() in _BOOLS):
        return rest.pop(0)
    if is_flag:
        return "true"
    raise usage(f"{option}: needs a value, {place.kind}")


def _find(
    descriptor: Descriptor,
    method: str,
    option: str,
    own_options: Sequence[str],
    payload: dict[str, Any],
) -> _Place:
    """Where the value of an option belongs."""
    path = option.removeprefix("--").split(".")
    container: Any = payload
    key: str | int = ""
    field: FieldDescriptor | None = None
    fields = descriptor
    walked = "--"
    while path:
        name = path.pop(0)
        field = fields.fields_by_name.get(name)
        if field is None:
            field = fields.fields_by_name.get(name.replace("-", "_"))
        if field is None:
            raise _no_field(fields, method, option, walked, name, own_options)
        walked += f"{field.name}."
        key = field.name
        if field.is_repeated and path:
            container = _into(container, key, list, option)
            key = _index(path.pop(0), container, option)
            walked += f"{key}."
            if not path:
                return _Place(field, False, _putter(container, key))
        if path:
            if field.message_type is None:
                raise usage(f"{option}: {walked.rstrip('.')} is {_kind(field)} and has no parts")
            container = _into(container, key, dict, option)
            fields = field.message_type
    assert field is not None, "split() gives at least one part"
    return _Place(field, field.is_repeated, _putter(container, key))


def _putter(container: Any, key: str | int) -> Callable[[Any], None]:
    def put(value: Any) -> None:
        container[key] = value

    return put


def _into(container: Any, key: str | int, kind: type, option: str) -> Any:
    """The object or list under a key, made when it is missing."""
    if isinstance(container, dict):
        inner = container.setdefault(key, kind())
    else:
        if container[key] is None:
            container[key] = kind()
        inner = container[key]
    if not isinstance(inner, kind):
        raise usage(f"{option}: contradicts the value that was given for the whole")
    return inner


def _index(text: str, container: list[Any], option: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise usage(f"{option}: {text!r} must be a number that counts the list's elements from 0")
    index = int(text)
    if index > len(container):
        raise usage(f"{option}: element {len(container)} of the list has to come first")
    if index == len(container):
        container.append(None)
    return index


def _quoted(text: str, field: FieldDescriptor | None = None) -> str:
    """What was given, unless it may hold secrets: what is printed here may end up in a log."""
    marked = field is not None and field.GetOptions().debug_redact
    if marked or redaction.may_hold_secrets(text.encode()):
        return "what was given"
    return repr(text)


def _value(place: _Place, option: str, text: str) -> Any:
    field = place.field
    if not place.is_scalar:
        try:
            return _read_json(text, f"{option}:")
        except ValueError:
            parts = "0" if place.is_list else "field"
            raise usage(
                f"{option}: must be {place.kind} as JSON, not {_quoted(text, field)}; "
                f"or give its parts as {option}.{parts} …"
            ) from None
    if field.cpp_type in _WHOLE or field.cpp_type in _REAL:
        try:
            return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else _real(field, text)
        except ValueError:
            wrong = _quoted(text, field)
            raise usage(f"{option}: must be {_kind(field)}, not {wrong}") from None
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text.lower() not in _BOOLS:
            raise usage(f"{option}: must be true or false, not {text!r}")
        return _BOOLS[text.lower()]
    if field.enum_type is not None:
        return _enum(field, option, text)
    return text


def _real(field: FieldDescriptor, text: str) -> float:
    if field.cpp_type in _WHOLE:
        raise ValueError
    return float(text)


def _enum(field: FieldDescriptor, option: str, text: str) -> int:
    """A number, also one that this version has no name for; or a name."""
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    assert field.enum_type is not None
    number = enums.number(field.enum_type, text)
    if number is None:
        known = enums.choices(field.enum_type, text)
        raise usage(f"{option}: must be one of {known}, not {text!r}")
    return number


def _no_field(
    fields: Descriptor,
    method: str,
    option: str,
    walked: str,
    name: str,
    own_options: Sequence[str],
) -> Problem:
    outermost = walked == "--"
    options = [f"{walked}{known}" for known in fields.fields_by_name]
    wanted = f"{walked}{name.replace('-', '_')}"
    candidates = [*options, *own_options] if outermost else options
    close = difflib.get_close_matches(wanted, candidates, n=1)
    if close:
        hint = f"did you mean {close[0]}?"
    elif options:
        hint = f"the fields are {', '.join(options)}"
    else:
        hint = "it has no fields"
    where = method if outermost else f"{method} {walked.strip('-.')}"
    return usage(f"{option}: {where} has no field {name!r}; {hint}")


def _kind(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return "an object"
    if field.cpp_type in _WHOLE:
        return "a whole number"
    if field.cpp_type in _REAL:
        return "a number"
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    return "text" if field.enum_type is None else "a number or a name"
