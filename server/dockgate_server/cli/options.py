"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:50051"

Server = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        envvar="DOCKGATE_SERVER",
        help="Where the dockgate server listens for gRPC.",
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Use TLS and trust the certificate authorities in this PEM file.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration (TOML). DOCKGATE_… variables overrule it.",
    ),
]


def examples(*lines: str, heading: str = "Examples") -> str:
    """A block of a help text whose lines are kept as they are, for the end of the help."""
    # \b keeps the help from being filled like a paragraph.
    return "\n".join(["\b", f"{heading}:", *(f"  {line}" for line in lines)])
