"""Options that several commands have."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:50051"

API_ID = "DOCKGATE_API_ID"
API_KEY = "DOCKGATE_API_KEY"
"""Variables, and no options: everybody on a machine can see the options of a process."""

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
        help="Use TLS and trust the certificate authorities in this PEM file. The API key is"
        " taken from DOCKGATE_API_ID and DOCKGATE_API_KEY.",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Show the server this certificate (PEM), if it asks clients for one.",
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        "--tls-key",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The private key of --tls-cert (PEM).",
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


@dataclass(frozen=True, slots=True)
class Tls:
    """What the options say about the connection to a server."""

    ca: Path | None
    """Trust these authorities; None for no TLS."""
    certificate: Path | None
    key: Path | None


def examples(*lines: str, heading: str = "Examples") -> str:
    """A block of a help text whose lines are kept as they are, for the end of the help."""
    # \b keeps the help from being filled like a paragraph.
    return "\n".join(["\b", f"{heading}:", *(f"  {line}" for line in lines)])
