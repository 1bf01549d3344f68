"""Tables: fitted to a terminal, complete and plain everywhere else."""

import sys
from collections.abc import Sequence

import typer

Cell = tuple[str, str]
"""A text and its colour, "" for none."""


def show(headers: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> None:
    """Write a table to standard output."""
    cells = [[cell if isinstance(cell, tuple) else (cell, "") for cell in row] for row in rows]
    if sys.stdout.isatty():
        _fitted(headers, cells)
        return
    # A program or a file reads this: nothing is cut off, columns are two spaces apart.
    texts = [list(headers), *([text for text, _ in row] for row in cells)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(headers))]
    for row in texts:
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _fitted(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        # In a narrow terminal cells are broken, never cut: ids and names are there to be copied.
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=style) for text, style in row))
    Console().print(table)
