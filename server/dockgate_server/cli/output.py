"""Standard output that cannot take what is to be printed: full, closed, or of few characters.

Of standard error only that it may be closed: what is said there is then said to nobody.
"""

import io
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

from dockgate_server.cli.problem import Problem


class NotPrinted(Problem):
    """Standard output has not taken everything."""


UNSEEN: Final = (NotPrinted, BrokenPipeError)
"""What is raised when nobody gets to see what was printed."""


def why_unseen(error: NotPrinted | BrokenPipeError) -> str:
    """Why that is so, in a few words."""
    return "nobody reads standard output" if isinstance(error, BrokenPipeError) else str(error)


def prepare() -> None:
    """Let standard output take every character, and say in one way that it takes no more."""
    before = sys.stdout
    if before is None:
        # Closed: what prints would fail in many ways, or say nothing. Its number is taken as well,
        # which the next file that is opened would get, and be printed into.
        sys.stdout = _Output(Path(os.devnull).open("rb"), encoding="utf-8")  # noqa: SIM115
    elif before is sys.__stdout__ and isinstance(before, io.TextIOWrapper):
        encoding, is_line, is_through = (
            before.encoding,
            before.line_buffering,
            before.write_through,
        )
        # As on standard error: a help text has more characters than Latin-1.
        errors = "backslashreplace" if before.errors == "strict" else before.errors
        sys.stdout = _Output(
            before.detach(),
            encoding=encoding,
            errors=errors,
            line_buffering=is_line,
            write_through=is_through,
        )
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def end() -> None:
    """Forget what was not taken, after it was said: Python would try again, and complain."""
    try:
        sys.stdout.flush()
    except (NotPrinted, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def not_printed(several: ExceptionGroup[Exception]) -> NotPrinted | None:
    """The problem, if a command that prints from tasks has ended by it."""
    found: Exception | None = several.subgroup(NotPrinted)
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, NotPrinted) else None


class _Output(io.TextIOWrapper):
    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            _fail(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            _fail(error)


def _fail(error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        raise error  # a reader that has seen enough; typer ends quietly then
    why = error.strerror or "it is closed"
    raise NotPrinted(f"cannot write to standard output: {why}", code="CANNOT_PRINT") from error
