"""``dockgate audit``: the audit log in the gateway's own database, or in a backup of it."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dockgate_server.cli.options import AsJson, Config, examples
from dockgate_server.cli.problem import Problem, no_database, usage

if TYPE_CHECKING:
    from dockgate_server.config import Store
    from dockgate_server.model.caller import Caller
    from dockgate_server.store.audit import Head
    from dockgate_server.store.sqlite.audit_file import Numbered, OnProgress, Verified

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Show and verify who asked for what.

The log is in the gateway's database, which these commands read themselves: run them where the
gateway runs, with its configuration; it may be running. --database reads a backup.""",
    epilog=examples(
        "dockgate audit list --since 24h --config dockgate.toml",
        "dockgate audit verify --config dockgate.toml",
    ),
)

Database = Annotated[
    Path | None,
    typer.Option(
        "--database",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Another database than the configured one: a backup.",
    ),
]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def on_this_machine() -> "Caller":
    """Who calls the command line, for the audit log."""
    from dockgate_server.model.caller import DEFAULT_TENANT, Caller, Origin

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without names
        user = str(os.getuid())
    return Caller(DEFAULT_TENANT, user, origin=Origin("cli"))


@app.command(
    "list",
    epilog=examples(
        "dockgate audit list --device drone-001 --since 24h",
        "dockgate audit list --refused --reason SIGNATURE_INVALID",
        "dockgate audit list --dangerous --limit 100 --json | jq .principal",
    ),
)
def list_entries(
    principal: Annotated[
        str, typer.Option("--principal", metavar="NAME", help="Only what this API ID asked for.")
    ] = "",
    device: Annotated[
        str, typer.Option("--device", metavar="ID", help="Only of this device, as it was named.")
    ] = "",
    action: Annotated[
        str, typer.Option("--action", metavar="NAME", help="Only this, e.g. submit_command.")
    ] = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="CODE", help="Only refusals with this code.")
    ] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Only refusals.")] = False,
    dangerous: Annotated[
        bool, typer.Option("--dangerous", help="Only dangerous methods, and keys that may.")
    ] = False,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="Only since then: 90m, 24h, 7d, or as 2026-11-20T08:00."
        ),
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="How many to show.")
    ] = 20,
    database: Database = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List entries of the audit log, newest first."""
    from dockgate_server.store.sqlite.audit_file import Filter, listed

    which = Filter(
        principal=principal,
        device_id=device,
        action=action,
        reason=reason.upper(),
        outcome="refused" if refused else "",
        dangerous=dangerous,
        since=_time(since),
    )
    with _problems():
        found = listed(_file(_settings(config), database), which, min(limit, sys.maxsize))
    if as_json:
        from dockgate_server.cli import render

        for one in found:
            render.print_json(_document(one))
    elif found:
        _show(found)
    else:
        typer.echo("no entries", err=True)


@app.command("head", epilog=examples("dockgate audit head >> /somewhere/else/dockgate-heads"))
def head(database: Database = None, config: Config = None, as_json: AsJson = False) -> None:
    """Print the newest entry's number and MAC.

    For `dockgate audit verify --head` on a later day.
    """
    from dockgate_server.store.sqlite import audit_file

    with _problems():
        newest = audit_file.head(_file(_settings(config), database))
    if as_json:
        from dockgate_server.cli import render

        render.print_json({"seq": newest.seq, "mac": newest.mac.hex(), "head": str(newest)})
    else:
        typer.echo(str(newest))


@app.command(
    "verify",
    epilog=examples(
        "dockgate audit verify --config dockgate.toml",
        "dockgate audit verify --head 4711:0f…e9",
        "dockgate audit verify --database /backups/dockgate-monday.db",
    ),
)
def verify(
    known: Annotated[
        str,
        typer.Option(
            "--head",
            metavar="SEQ:MAC",
            help="A head from before, from `dockgate audit head` or the gateway's log: entries "
            "that were cut off since are noticed by it.",
        ),
    ] = "",
    database: Database = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Verify that no entry was changed, taken out, put in or moved.

    Exit code 1 when one was, and the first such place on standard error; or when the database would
    let it be done.
    """
    from dockgate_server.store.sqlite import audit_file

    settings, head_known = _settings(config), _head(known)
    file = _file(settings, database)
    with _problems(), _bar(shown=sys.stderr.isatty() and not as_json) as on_progress:
        key = settings.sealing_key.read()
        if key is None:
            raise Problem(
                f"the sealing key {settings.sealing_key} is missing; nothing can be verified "
                "without it",
                code="NO_SEALING_KEY",
            )
        found = audit_file.verify(file, key, head_known, on_progress)
    _report(found, as_json=as_json)


def _report(found: "Verified", *, as_json: bool) -> None:
    from dockgate_server.cli import render

    if as_json:
        times = {"first_at": found.first_at, "last_at": found.last_at}
        document: dict[str, Any] = {
            "intact": not (found.found or found.unguarded or _is_emptied(found)),
            "entries": found.entries,
            **{name: render.rfc3339(at) for name, at in times.items() if at is not None},
            "head": str(found.head),
            "removed_up_to": found.removed_up_to,
            "head_was_checked": found.head_was_checked,
        }
        if found.found is not None:
            document["broken_at"] = found.found.seq
            document["kind"] = found.found.kind
        if found.unguarded:
            document["unguarded"] = list(found.unguarded)
        if found.guarded_anew:
            document["guarded_anew_at"] = list(found.guarded_anew)
        render.print_json(document)
    elif found.first_at is not None and found.last_at is not None:
        span = f"from {_when(found.first_at)} to {_when(found.last_at)}"
        state = "are intact" if found.found is None else "before the break are intact"
        typer.echo(f"{found.entries} entries {state}, {span}; head {found.head}")
    for seq in found.guarded_anew:
        tampered = "somebody had made the database ready for changes of the log"
        typer.echo(f"entry {seq}: {tampered}; the gateway undid that", err=True)
    if _is_emptied(found):
        emptied = "it has no entries, though every start of the gateway writes one"
        raise Problem(f"the audit log is broken: {emptied}", code="AUDIT_BROKEN")
    if found.found is not None:
        raise Problem(f"the audit log is broken: {found.found.message}", code="AUDIT_BROKEN")
    if found.unguarded:
        what = f"the database would let entries be changed: {', '.join(found.unguarded)}"
        raise Problem(f"{what}; the gateway undoes that when it starts", code="AUDIT_UNGUARDED")
    if not found.head_was_checked:
        gone = "the head is of an entry that was removed since, as it was old; it proves nothing"
        typer.echo(gone, err=True)


def _is_emptied(found: "Verified") -> bool:
    return not found.entries and not found.removed_up_to


def _show(found: "list[Numbered]") -> None:
    from dockgate_server.cli import table

    rows: list[list[table.Cell | str]] = []
    for one in found:
        entry = one.entry
        refused = entry.outcome == "refused"
        outcome = f"{entry.reason if refused else entry.outcome}"
        colour = "red" if refused else "green"
        who = entry.principal if entry.is_proven else f"{entry.principal or '?'} (unproven)"
        rows.append(
            [
                str(one.seq),
                _when(entry.at),
                who,
                " ".join(filter(None, (entry.transport, entry.peer))) or "-",
                entry.action,
                (outcome if entry.calls == 1 else f"{outcome} ×{entry.calls}", colour),
                f"{entry.method or '-'}{' !' if entry.dangerous else ''}",
                entry.device_id or "-",
                entry.target or "-",
            ]
        )
    headers = ("SEQ", "TIME", "WHO", "FROM", "ACTION", "OUTCOME", "METHOD", "DEVICE", "ABOUT")
    table.show(headers, rows, ("SEQ", "WHO", "ABOUT"))


def _document(one: "Numbered") -> dict[str, Any]:
    from dockgate_server.cli import render

    values = one.entry._asdict()
    values |= {
        "at": render.rfc3339(one.entry.at),
        "is_proven": bool(one.entry.is_proven),
        "dangerous": bool(one.entry.dangerous),
        "digest": one.entry.digest.hex(),
    }
    shown = {name: value for name, value in values.items() if value != ""}
    return {"seq": one.seq, **shown, "mac": one.mac.hex()}


def _settings(config: Path | None) -> "Store":
    from dockgate_server.cli.serve import load_store

    return load_store(config)


def _file(settings: "Store", database: Path | None) -> Path:
    file = database or settings.path
    if not file.is_file():
        raise no_database(file)
    return file


def _head(text: str) -> "Head | None":
    from dockgate_server.store.audit import Head

    if not text:
        return None
    try:
        return Head.read(text)
    except ValueError:
        raise usage("--head: must be SEQ:MAC, as `dockgate audit head` prints it") from None


def _time(text: str) -> int:
    """UTC milliseconds of a time, or of so long ago; 0 when there is none."""
    if not text:
        return 0
    try:
        if text[-1] in _UNITS and text[:-1].isdigit():
            at = datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        else:
            at = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise usage("--since: must be like 90m, 24h, 7d or 2026-11-20T08:00") from None
    return round(at.timestamp() * 1000)


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


@contextmanager
def _problems() -> "Iterator[None]":
    from dockgate_server.sealing import SealingProblem
    from dockgate_server.store.sqlite.audit_file import AuditProblem

    try:
        yield
    except AuditProblem as problem:
        raise Problem(str(problem), code="CANNOT_READ_AUDIT") from problem
    except SealingProblem as problem:
        raise Problem(f"wrong sealing key: {problem}", code="WRONG_SEALING_KEY") from problem


@contextmanager
def _bar(*, shown: bool) -> "Iterator[OnProgress]":
    """What shows how far it is, where somebody can see it."""
    if not shown:
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("verifying", total=1.0)
        yield lambda share: progress.update(task, completed=share)
