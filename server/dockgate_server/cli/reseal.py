"""``dockgate keys reseal``: another sealing key for the database."""

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dockgate_server.cli.options import AsJson, Config, examples
from dockgate_server.cli.problem import Problem, no_database

if TYPE_CHECKING:
    from dockgate_server.config import Store

EXAMPLES = examples("dockgate keys reseal --new-key-file dockgate-2027.key --config dockgate.toml")


def reseal(
    new_key_file: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The new key: 32 bytes that only you can read. Made when it is missing.",
        ),
    ],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Seal every secret in the database anew, with another key. The gateway must be stopped.

    All are sealed with the new key, or all still with the old one, whatever happens. Then let
    store.key_file name the new file, or move it to where the old one is, or give it in place of
    the old key in DOCKGATE_STORE__KEY.
    """
    from dockgate_server.cli.serve import load_store

    settings = load_store(config)
    if not settings.path.is_file():
        raise no_database(settings.path)
    resealed = asyncio.run(_reseal(settings, new_key_file))
    if as_json:
        from dockgate_server.cli import render

        render.print_json({"resealed": resealed, "key_file": str(new_key_file)})
        return
    typer.echo(f"{resealed} secrets in {settings.path} are sealed with {new_key_file} now")
    typer.echo(f"start the gateway with {_setting(settings, new_key_file)}", err=True)
    # The key itself is not in a file that could be named.
    old = "the old key" if settings.key is not None else settings.sealing_key
    typer.echo(f"backups from before still need {old}", err=True)


def _setting(settings: "Store", new_key_file: Path) -> str:
    """How the gateway is to be given the new key: in the way in which it had the old one."""
    if settings.key is None:
        return f"store.key_file = {str(new_key_file)!r}"
    # As long as there is a key, no file is looked at.
    return f"DOCKGATE_STORE__KEY=$(xxd -p -c 32 {shlex.quote(str(new_key_file))})"


async def _reseal(settings: "Store", new_key_file: Path) -> int:
    from dockgate_server.access import unlocking
    from dockgate_server.cli.audit import on_this_machine
    from dockgate_server.clock import SystemClock
    from dockgate_server.model.audit import Action, by
    from dockgate_server.sealing import KeySource, Resealing, SealingProblem
    from dockgate_server.store.sqlite import SqliteStore, StoreProblem

    try:
        # Exclusive: a gateway at work would go on with the old key.
        async with SqliteStore(settings.path) as store:
            old = await unlocking.sealing_key(store, settings.sealing_key)
            # A secret of the time before secrets were sealed is sealed with the old key, once.
            await store.secrets.clean(await unlocking.vault(store, settings.sealing_key))
            new = await asyncio.to_thread(KeySource(new_key_file).make)
            audit = by(on_this_machine(), SystemClock().now_ms(), Action.RESEALED)
            return await store.secrets.reseal(Resealing(old, new), audit)
    except (StoreProblem, SealingProblem) as problem:
        raise Problem(str(problem), code="CANNOT_RESEAL") from problem
