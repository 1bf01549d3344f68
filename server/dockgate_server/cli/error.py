"""``dockgate error``."""

from typing import TYPE_CHECKING, Annotated

import typer

from dockgate_server.cli.options import AsJson, examples
from dockgate_server.cli.problem import Problem, usage

if TYPE_CHECKING:
    from dockgate_server.codec.error_codes import Explanation

EXAMPLES = examples(
    "dockgate error 314008",
    "dockgate error 314008 326002 --json",
)
_SOURCES = {"device": "dock or drone", "pilot2": "DJI Pilot 2"}


def error(
    codes: Annotated[
        list[str],
        typer.Argument(metavar="CODE", help="A result or response_code other than 0."),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a device's error code means."""
    from dockgate_server.cli import render, table
    from dockgate_server.codec import error_codes

    for code in codes:
        if not (code.isascii() and code.isdigit()):
            raise usage(f"CODE must be a number such as 314008, not {code!r}")
    explained = [error_codes.explain(code) for code in codes]
    known = [one for one in explained if one.label is not None]
    if as_json:
        for one in known:
            members = ("code", "source", "module", "label")
            render.print_json({name: getattr(one, name) for name in members})
    elif known:
        rows = [
            [one.code, _source(one) or "-", one.module or "-", one.label or ""] for one in known
        ]
        table.show(("CODE", "SOURCE", "MODULE", "MEANING"), rows)
    if len(known) < len(explained):
        lines = (_unknown(one) for one in explained if one.label is None)
        raise Problem("\n".join(lines), code="UNKNOWN_ERROR_CODE")


def _source(one: "Explanation") -> str | None:
    return None if one.source is None else _SOURCES[one.source]


def _unknown(one: "Explanation") -> str:
    if one.code.strip("0") == "":
        return f"{one.code} is no error: the device did, or has begun, what it was told"
    said = f"{one.code} is not in DJI's list of error codes"
    source = _source(one)
    return f"{said}; by its digits it comes from {source}, module {one.module}" if source else said
