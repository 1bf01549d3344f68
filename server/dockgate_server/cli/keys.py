"""``dockgate keys``: who may call, in the gateway's own database."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dockgate_server.cli import key_words, reseal
from dockgate_server.cli.options import AsJson, Config, examples
from dockgate_server.cli.problem import Problem, no_database, usage

if TYPE_CHECKING:
    from dockgate_server.access.forms import InvalidField
    from dockgate_server.access.keys import Keys
    from dockgate_server.model.caller import Scope

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Make, list, rotate and disable API keys.

They are in the gateway's database, which these commands open themselves: run them where the
gateway runs, with its configuration; it may be running.""",
    epilog=examples(
        'dockgate keys create --label "maintenance portal" --config dockgate.toml',
        "dockgate keys list --config dockgate.toml",
        "dockgate keys rotate dk_0123456789abcdef --config dockgate.toml",
    ),
)

Result = TypeVar("Result")

ApiId = Annotated[str, typer.Argument(metavar="API_ID", help="The key's API ID.")]


@app.command(
    "create",
    epilog=examples(
        'dockgate keys create --label "maintenance portal"',
        "dockgate keys create --scope create --scope read --scope dangerous",
        "dockgate keys create --tenant north --device 7CTDLCE00A0001 --device 'dock-*'",
        "dockgate keys create --client-certificate planner.example.com",
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
            help="What it may do; repeatable: create, read, dangerous, raw (short for "
            "open:command:create and so on), request-read, request-create (short for "
            "open:device-request:read and :create). create and read by default.",
        ),
    ] = None,
    tenant: Annotated[
        str,
        typer.Option("--tenant", metavar="NAME", help="Whose commands and devices it may see."),
    ] = "default",
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="A device that it may reach; repeatable. Its serial number or alias, how these "
            "begin ('dock-*'), or the serial number of its dock. All of its tenant by default.",
        ),
    ] = None,
    client_certificate: Annotated[
        str | None,
        typer.Option(
            "--client-certificate",
            metavar="NAME",
            help="The name in a client certificate that stands for the secret (mutual TLS).",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print its ID and secret.

    The secret cannot be shown again. The database in which the key is made is named as well: that
    must be the gateway's.
    """
    from dockgate_server.access.forms import InvalidField, check

    scopes, devices = _scopes(scope), device or []
    try:
        # Before the database is opened, which makes one where there is none.
        check(label, tenant, devices, client_certificate)
    except InvalidField as wrong:
        raise _wrong_option(wrong) from None

    async def work() -> None:
        async with _opened(config, may_make=True) as keys:
            try:
                new = await keys.create(label, tenant, scopes, devices, client_certificate)
            except InvalidField as wrong:
                raise _wrong_option(wrong) from None
            # Before anything else is said: whatever fails then, the secret is not lost.
            key_words.show_new(new, "made", f"disable {new.key.api_id}", as_json=as_json)
        if _submits_nothing(scopes):
            note = "note: without --scope create as well this key can submit nothing"
            typer.echo(note, err=True)

    _run(work())


@app.command(
    "rotate",
    epilog=examples(
        "dockgate keys rotate dk_0123456789abcdef",
        "dockgate keys rotate dk_0123456789abcdef --finish",
    ),
)
def rotate(
    api_id: ApiId,
    finish: Annotated[
        bool, typer.Option("--finish", help="End the older secret: nobody uses it any more.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="End the newer secret: it was lost, or somebody saw it.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give an API key a second secret, or end one of two.

    Both are good until one is ended: hand the new secret to whoever calls, then end the older one
    with --finish. A running gateway takes note within seconds.
    """
    if finish and undo:
        raise usage("--finish and --undo: one of them, or neither")

    async def work() -> None:
        async with _opened(config) as keys:
            if not (finish or undo):
                new = await keys.rotate(api_id)
                remedy = f"rotate {api_id} --undo"
                key_words.show_new(new, "rotated", remedy, as_json=as_json)
                return
            key = await (keys.finish_rotation(api_id) if finish else keys.undo_rotation(api_id))
        if as_json:
            _print(key_words.document(key))
        else:
            typer.echo(f"{api_id} has one secret, of {key_words.day(key.secret_at)}")

    _run(work())


@app.command("list", epilog=examples("dockgate keys list"))
def list_keys(config: Config = None, as_json: AsJson = False) -> None:
    """List the API keys, oldest first, without their secrets."""

    async def work() -> None:
        async with _opened(config) as keys:
            found = await keys.list()
        if as_json:
            for key in found:
                _print(key_words.document(key))
            return
        if not found:
            typer.echo("no API keys", err=True)
            return
        from dockgate_server.cli import table

        table.show(key_words.COLUMNS, [key_words.row(key) for key in found], ("API ID",))

    _run(work())


@app.command("disable", epilog=examples("dockgate keys disable dk_0123456789abcdef"))
def disable(
    api_id: ApiId,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Disable an API key for good. A running gateway takes note within seconds."""

    async def work() -> None:
        async with _opened(config) as keys:
            changed = await keys.disable(api_id)
        if as_json:
            _print({"api_id": api_id, "disabled": True, "changed": changed})
        else:
            typer.echo(f"{api_id} {'is disabled' if changed else 'was disabled before'}")

    _run(work())


app.command(epilog=reseal.EXAMPLES)(reseal.reseal)


@asynccontextmanager
async def _opened(config: Path | None, *, may_make: bool = False) -> "AsyncIterator[Keys]":
    from dockgate_server.access.keys import CannotRotate, Keys, UnknownKey
    from dockgate_server.cli.audit import on_this_machine
    from dockgate_server.cli.serve import load_store
    from dockgate_server.clock import SystemClock
    from dockgate_server.sealing import SealingProblem
    from dockgate_server.store.sqlite import SqliteStore, StoreProblem

    settings = load_store(config)
    is_new = not settings.path.is_file()
    # Looking must not make a database where the configuration points to the wrong place.
    if is_new and not may_make:
        raise no_database(settings.path)
    try:
        async with SqliteStore(settings.path, exclusive=False) as store:
            yield Keys(store, settings.sealing_key, SystemClock(), on_this_machine())
        if may_make:
            # A key in another database than the gateway's opens nothing, and looks like any other.
            made = " (new: no gateway has used it yet)" if is_new else ""
            typer.echo(f"database  {settings.path.absolute()}{made}", err=True)
    except UnknownKey as unknown:
        raise Problem(str(unknown), code="API_KEY_NOT_FOUND") from None
    except CannotRotate as why:
        raise Problem(str(why), code="CANNOT_ROTATE") from None
    except StoreProblem as problem:
        raise Problem(str(problem), code="NO_DATABASE") from problem
    except SealingProblem as problem:
        raise Problem(str(problem), code="WRONG_SEALING_KEY") from problem


def _run(work: "Coroutine[Any, Any, Result]") -> Result:
    import asyncio

    return asyncio.run(work)


def _scopes(names: list[str] | None) -> "frozenset[Scope]":
    """The scopes of those names, short or whole."""
    from dockgate_server.model.caller import ORDINARY, Scope

    if not names:
        return ORDINARY
    short = {key_words.short(scope): scope for scope in Scope}
    known = short | {scope: scope for scope in Scope}
    for name in names:
        if name not in known:
            raise usage(f"--scope: there is no {name!r}; there are {', '.join(short)}")
    return frozenset(known[name] for name in names)


def _submits_nothing(scopes: "frozenset[Scope]") -> bool:
    """Whether somebody meant to add a scope to the usual ones, which has replaced them."""
    from dockgate_server.model.caller import Scope

    return Scope.CREATE not in scopes and not scopes.isdisjoint((Scope.DANGEROUS, Scope.RAW))


def _wrong_option(wrong: "InvalidField") -> Problem:
    option = {"devices": "device"}.get(wrong.field, wrong.field.replace("_", "-"))
    return usage(f"--{option}: {wrong.problem}")


def _print(document: dict[str, Any]) -> None:
    from dockgate_server.cli import render

    render.print_json(document)
