"""Tables: fitted to a terminal, complete and plain everywhere else."""

import sys
from collections.abc import Collection, Sequence

import typer

Cell = tuple[str, str]
"""A text and its colour, "" for none."""


_NARROWEST = 10
"""What a column keeps: a day, for one, if its content is not narrower, where ids need the rest."""


def show(
    headers: Sequence[str], rows: Sequence[Sequence[Cell | str]], ids: Collection[str] = ()
) -> None:
    """Write a table to standard output.

    Args:
        headers: The names of its columns.
        rows: A cell for each column.
        ids: The columns that are kept whole however narrow the terminal is: what is in them is
            there to be copied.
    """
    cells = [[cell if isinstance(cell, tuple) else (cell, "") for cell in row] for row in rows]
    # A program or a file reads this otherwise: nothing is cut off, columns are two spaces apart.
    texts = [list(headers), *([text for text, _ in row] for row in cells)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headers))]
    if sys.stdout.isatty():
        _fitted(headers, cells, widths, ids)
        return
    for row in texts:
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _fitted(
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    widths: Sequence[int],
    ids: Collection[str],
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    least = 0
    for header, width in zip(headers, widths, strict=True):
        whole = header in ids
        # In a narrow terminal cells are broken, never cut.
        table.add_column(header, overflow="fold", no_wrap=whole)
        least += (width if whole else min(width, _NARROWEST)) + 2
    for row in rows:
        table.add_row(*(Text(text, style=style) for text, style in row))
    console = Console()
    # A terminal breaks lines that are too long for it, and still knows that they are one.
    console.width = max(console.width, least)
    console.print(table)
