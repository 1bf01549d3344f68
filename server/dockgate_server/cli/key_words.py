"""API keys in words and as JSON."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from dockgate_server.cli.output import UNSEEN, why_unseen
from dockgate_server.cli.problem import Problem

if TYPE_CHECKING:
    from dockgate_server.access.keys import Key, NewKey
    from dockgate_server.cli.table import Cell
    from dockgate_server.model.caller import Scope

COLUMNS = (
    "API ID",
    "LABEL",
    "TENANT",
    "SCOPES",
    "DEVICES",
    "CERTIFICATE",
    "CREATED",
    "SECRETS",
    "STATE",
)
"""The headers of :func:`row`."""


def row(key: "Key") -> "list[Cell | str]":
    """A key as a line of a table."""
    return [
        key.api_id,
        key.label or "-",
        key.tenant,
        ", ".join(sorted(map(short, key.scopes))),
        ", ".join(key.devices) or "all",
        key.client_certificate or "-",
        day(key.created_at),
        _secrets(key),
        ("in use", "green") if key.disabled_at is None else f"off {day(key.disabled_at)}",
    ]


def document(key: "Key") -> dict[str, Any]:
    """A key as ``--json`` prints it, without its secrets."""
    from dockgate_server.cli import render

    found = {
        "api_id": key.api_id,
        "label": key.label,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "devices": key.devices,
        "created_at": render.rfc3339(key.created_at),
        "secret_at": render.rfc3339(key.secret_at),
    }
    if key.client_certificate is not None:
        found["client_certificate"] = key.client_certificate
    if key.older_secret_at is not None:
        found["older_secret_at"] = render.rfc3339(key.older_secret_at)
    if key.disabled_at is not None:
        found["disabled_at"] = render.rfc3339(key.disabled_at)
    return found


def show_new(new: "NewKey", done: str, remedy: str, *, as_json: bool) -> None:
    """Print a new secret, this one time.

    Args:
        new: The key with the secret.
        done: What was done to the key, e.g. ``made``.
        remedy: The command of ``dockgate keys`` that ends a secret which nobody has seen.
        as_json: For a program.

    Raises:
        Problem: It could not be printed; it is good all the same.
    """
    try:
        _show_new(new, as_json=as_json)
    except UNSEEN as error:
        raise Problem(
            f"the API key {new.key.api_id} was {done}, but its secret could not be shown "
            f"({why_unseen(error)}); end it with: dockgate keys {remedy}",
            code="SECRET_NOT_SHOWN",
            metadata={"api_id": new.key.api_id},
        ) from error


def short(scope: "Scope") -> str:
    """``read`` for open:command:read, ``request-read`` for open:device-request:read."""
    return re.sub("^open:(command:|device-)", "", scope).replace(":", "-")


def day(at_ms: int) -> str:
    """A day and a time, here."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"


def _show_new(new: "NewKey", *, as_json: bool) -> None:
    from dockgate_server.cli import render

    if as_json:
        render.print_json(document(new.key) | {"secret": new.secret})
        return
    typer.echo(f"API ID  {new.key.api_id}")
    typer.echo(f"secret  {new.secret}")
    typer.echo("Keep the secret now: it cannot be shown again.", err=True)
    if new.key.older_secret_at is not None:
        typer.echo(
            f"The one of {day(new.key.older_secret_at)} is good as well, until "
            f"`dockgate keys rotate {new.key.api_id} --finish`.",
            err=True,
        )


def _secrets(key: "Key") -> str:
    """The days of those that are good."""
    if key.disabled_at is not None:
        return "-"
    both = (key.older_secret_at, key.secret_at)
    return ", ".join(day(at) for at in both if at is not None)
