"""What is wrong with a configuration: by the name under which it was set, in plain words."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, get_args

from pydantic import BaseModel

ENV_PREFIX: Final = "DOCKGATE_"
DELIMITER: Final = "__"
"""Between a section and its setting in the name of a variable."""

NOT_SETTINGS: Final = frozenset(
    {"DOCKGATE_SERVER", "DOCKGATE_API_ID", "DOCKGATE_API_KEY", "DOCKGATE_SIM_PASSWORD"}
)
"""Variables with our prefix that are read elsewhere: by the client commands and the simulator."""

Model: TypeAlias = type[BaseModel]

_NO_SUCH_SETTING: Final = "there is no such setting"
_NUMBER: Final = "must be a number"
_WHOLE_NUMBER: Final = "must be a whole number"
_TRUE_OR_FALSE: Final = "must be true or false"
_TABLE: Final = 'must be a table; in a variable as JSON, e.g. {{"{example}": …}}'

_WORDS: Final = {
    "bool_parsing": _TRUE_OR_FALSE,
    "bool_type": _TRUE_OR_FALSE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_type": _WHOLE_NUMBER,
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_attributes_type": _TABLE,
    "model_type": _TABLE,
    "path_type": "must be the name of a file",
    "string_too_long": "has too many characters; at most {max_length}",
    "string_too_short": "has too few characters; at least {min_length}",
    "string_type": "must be text",
    "tuple_type": 'must be a list of tables; in a variable as JSON, e.g. [{{"{example}": …}}]',
}
"""By pydantic's names of what can be wrong."""


def described(error: Mapping[str, Any], settings: Model) -> str:
    """A mistake as pydantic tells it, as a line.

    Args:
        error: The mistake.
        settings: The whole configuration.
    """
    path = [str(part) for part in error["loc"]]
    kind = error.get("type", "")
    if kind == "extra_forbidden":
        return f"{_named(path)}: {_NO_SUCH_SETTING}{_meant(path, settings)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if kind in _WORDS:
        below = _below(settings, path)
        example = next(iter(below.model_fields)) if below else ""
        message = _WORDS[kind].format(**error.get("ctx", {}), example=example)
    # What is said with the last of several settings may be about another one of them.
    name, colon, rest = message.partition(": ")
    section = _below(settings, path[:1])
    if colon and section and name in section.model_fields:
        path, message = [path[0], name], rest
    return f"{_named(path)}: {message}"


def unknown_variables(settings: Model) -> list[str]:
    """Variables with our prefix that mean nothing: a typing error would be silent otherwise."""
    known = {_variable([name]) for name in settings.model_fields}
    every = [_variable(path).removeprefix(ENV_PREFIX) for path in _paths(settings)]
    return [
        f"{name}: {_NO_SUCH_SETTING}"
        + _did_you_mean(ENV_PREFIX, name.removeprefix(ENV_PREFIX), every)
        for name in sorted(os.environ)
        if name.startswith(ENV_PREFIX)
        and name.split(DELIMITER)[0] not in known
        and name not in NOT_SETTINGS
    ]


def _named(path: Sequence[str]) -> str:
    return f"{'.'.join(path)} ({_variable(path)})"


def _variable(path: Sequence[str]) -> str:
    """The variable that sets it: what is within a list is set with the whole list."""
    at = next((at for at, part in enumerate(path) if part.isdecimal()), len(path))
    return f"{ENV_PREFIX}{DELIMITER.join(path[:at])}".upper()


def _meant(path: Sequence[str], settings: Model) -> str:
    *above, name = path
    section = _below(settings, above)
    before = "".join(f"{one}." for one in above)
    return _did_you_mean(before, name, list(section.model_fields) if section else [])


def _did_you_mean(before: str, name: str, names: Sequence[str]) -> str:
    # What all begin with is left out, as it makes all of them look alike.
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {before}{close[0]}?" if close else ""


def _below(model: Model | None, path: Sequence[str]) -> Model | None:
    """The settings of a section, or of each table in a list; None where there are none."""
    for name in path:
        if model is not None and not name.isdecimal():
            field = model.model_fields.get(name)
            model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> Model | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _paths(settings: Model) -> Iterator[tuple[str, ...]]:
    """All that has a variable of its own."""
    for name, field in settings.model_fields.items():
        yield (name,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, inner) for inner in field.annotation.model_fields)
