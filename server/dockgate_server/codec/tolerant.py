"""Reading what is hardly JSON, and cutting off what is nested deeper than anybody needs.

Some devices write numbers that no other reader knows, texts that are no UTF-8, or something in
front of a message and behind it. One odd member must not hide the others: among them is the
result of a command. What was changed by reading is said by whoever uses this.
"""

import json

import orjson

MOST_BYTES = 65_536
"""Of a larger message nothing is read here, as it takes many times as long as a quick reader does,
and anybody at the broker may send one."""


def loads(payload: bytes, levels: int) -> object:
    """The JSON value that a payload begins with; None when there is none.

    A number that nothing can hold stays the text that was written; what is no character becomes a
    replacement character.

    Args:
        payload: What a quick and strict reader has refused.
        levels: How deep it may be nested; see :func:`cut`.
    """
    if len(payload) > MOST_BYTES:
        return None
    try:
        value, _ = _DECODER.raw_decode(payload.decode("utf-8-sig", "replace").lstrip())
    except (ValueError, RecursionError):
        return None
    return cut(value, levels)


def cut(value: object, levels: int) -> object:
    """The value with null for objects and lists that are nested deeper than so many levels."""
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return None
    if isinstance(value, list):
        return [cut(one, levels - 1) for one in value]
    return {_text(name): cut(one, levels - 1) for name, one in value.items()}


def _text(value: str) -> str:
    # Half of a character can stand in Python's text, but in nobody else's.
    return value.encode(errors="replace").decode()


def _number(text: str) -> object:
    """As the quick reader takes it."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


_DECODER = json.JSONDecoder(
    parse_int=_number, parse_float=_number, parse_constant=str, strict=False
)
