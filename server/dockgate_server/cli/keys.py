"""``dockgate keys``: the API keys of the HTTP open API, in the gateway's own database."""

import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dockgate_server.cli.options import AsJson, Config, examples
from dockgate_server.cli.problem import Problem, no_database, usage

if TYPE_CHECKING:
    from dockgate_server.access.keys import Key, Keys
    from dockgate_server.model.caller import Scope

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Make, list and disable API keys for the HTTP open API.

They are in the gateway's database, which these commands open themselves: run them where the
gateway runs, with its configuration; it may be running.""",
)

Result = TypeVar("Result")


@app.command(
    "create",
    epilog=examples(
        'dockgate keys create --label "maintenance portal"',
        "dockgate keys create --scope create --scope read --scope dangerous",
        "dockgate keys create --config dockgate.toml --json",
    ),
)
def create(
    label: Annotated[
        str, typer.Option("--label", metavar="TEXT", help="What the key is for.")
    ] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What it may do; repeatable: create, read, dangerous, raw, request-read, "
            "request-create. create and read by default.",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print its ID and its secret, which cannot be shown again."""

    async def work() -> None:
        async with _opened(config, must_exist=False) as keys:
            try:
                new = await keys.create(label, scopes=_scopes(scope))
            except ValueError as wrong:
                raise usage(f"--label: {wrong}") from None
        if as_json:
            _print(_document(new.key) | {"secret": new.secret})
            return
        typer.echo(f"API ID  {new.key.api_id}")
        typer.echo(f"secret  {new.secret}")
        typer.echo("Keep the secret now: it cannot be shown again.", err=True)

    _run(work())


@app.command("list", epilog=examples("dockgate keys list"))
def list_keys(config: Config = None, as_json: AsJson = False) -> None:
    """List the API keys, oldest first, without their secrets."""

    async def work() -> None:
        async with _opened(config, must_exist=True) as keys:
            found = await keys.list()
        if as_json:
            for key in found:
                _print(_document(key))
            return
        if not found:
            typer.echo("no API keys", err=True)
            return
        from dockgate_server.cli import table

        rows = [
            [
                key.api_id,
                key.label or "-",
                ", ".join(sorted(map(_short, key.scopes))),
                _day(key.created_at),
                ("in use", "green") if key.disabled_at is None else f"off {_day(key.disabled_at)}",
            ]
            for key in found
        ]
        table.show(("API ID", "LABEL", "SCOPES", "CREATED", "STATE"), rows)

    _run(work())


@app.command("disable", epilog=examples("dockgate keys disable dk_0123456789abcdef"))
def disable(
    api_id: Annotated[str, typer.Argument(metavar="API_ID", help="The key's API ID.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Disable an API key for good. A running gateway takes note within seconds."""

    async def work() -> None:
        from dockgate_server.access.keys import UnknownKey

        async with _opened(config, must_exist=True) as keys:
            try:
                changed = await keys.disable(api_id)
            except UnknownKey as unknown:
                raise Problem(str(unknown), code="API_KEY_NOT_FOUND") from None
        if as_json:
            _print({"api_id": api_id, "disabled": True, "changed": changed})
        else:
            typer.echo(f"{api_id} {'is disabled' if changed else 'was disabled before'}")

    _run(work())


@asynccontextmanager
async def _opened(config: Path | None, *, must_exist: bool) -> "AsyncIterator[Keys]":
    from dockgate_server.access.keys import Keys
    from dockgate_server.access.sealing import SealingProblem
    from dockgate_server.cli.serve import load
    from dockgate_server.clock import SystemClock
    from dockgate_server.store.sqlite import SqliteStore, StoreProblem

    settings = load(config).store
    # Looking must not make a database where the configuration points to the wrong place.
    if must_exist and not settings.path.is_file():
        raise no_database(settings.path)
    if not settings.path.is_file():
        typer.echo(f"making a new database: {settings.path}", err=True)
    try:
        async with SqliteStore(settings.path, exclusive=False) as store:
            yield Keys(store, settings.sealing_key_file, SystemClock())
    except (StoreProblem, SealingProblem) as problem:
        raise Problem(str(problem), code="NO_DATABASE") from problem


def _run(work: "Coroutine[Any, Any, Result]") -> Result:
    import asyncio

    return asyncio.run(work)


def _scopes(names: list[str] | None) -> "frozenset[Scope]":
    """The scopes of those names, short or whole."""
    from dockgate_server.model.caller import ORDINARY, Scope

    if not names:
        return ORDINARY
    short = {_short(scope): scope for scope in Scope}
    known = short | {scope: scope for scope in Scope}
    for name in names:
        if name not in known:
            raise usage(f"--scope: there is no {name!r}; there are {', '.join(short)}")
    return frozenset(known[name] for name in names)


def _short(scope: "Scope") -> str:
    """``read`` for open:command:read, ``request-read`` for open:device-request:read."""
    return re.sub("^open:(command:|device-)", "", scope).replace(":", "-")


def _document(key: "Key") -> dict[str, Any]:
    from dockgate_server.cli import render

    document = {
        "api_id": key.api_id,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "created_at": render.rfc3339(key.created_at),
    }
    if key.disabled_at is not None:
        document["disabled_at"] = render.rfc3339(key.disabled_at)
    return document


def _print(document: dict[str, Any]) -> None:
    from dockgate_server.cli import render

    render.print_json(document)


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"
