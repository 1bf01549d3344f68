"""The layers of the server, and a few rules for its files, held by reading the sources."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "server"
PACKAGE = "dockgate_server"

LAYERS = (
    (
        "errors",
        "command_ids",
        "request_ids",
        "clock",
        "loading",
        "logs",
        "mqtt",
        "pem",
        "sealing",
        "shielding",
    ),
    ("model", "tls"),
    ("config", "codec", "hub", "lines"),
    ("store", "bridge", "asking", "limits"),
    ("devices", "retention", "audit"),
    ("dispatcher", "providers"),
    ("inbound",),
    ("commands", "events", "fleet", "inbox", "access", "docs"),
    ("rpc", "http"),
    ("app", "supervision", "dev", "cli", "__main__"),
)
"""From the bottom up. A part may use what is below it, and itself; at the top anything."""

LEVELS = {part: level for level, parts in enumerate(LAYERS) for part in parts}
LONGEST_FILE = 350

MODULES = sorted((SERVER / PACKAGE).rglob("*.py"))


def _name(file: Path) -> str:
    """The module's name below the package: ``store.sqlite.writer``."""
    parts = file.relative_to(SERVER / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _imports(file: Path) -> Iterator[str]:
    """The absolute name of everything that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = [PACKAGE, *_name(file).split(".")]
                # A package is its own first level.
                up = node.level - (file.name == "__init__.py")
                base = ".".join([*here[: len(here) - up], *base.split(".")]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _own(imported: str) -> str | None:
    """The part of the package that is imported: ``store``; None for what is not ours."""
    first, _, rest = imported.partition(".")
    return rest.split(".")[0] if first == PACKAGE and rest else None


def _breach(importer: str, imported: str) -> bool:
    if importer == imported:
        return False
    if importer == "simulate" and imported == "mqtt":
        return False
    if "simulate" in (importer, imported):
        # The simulated dock is a device, not a part: it shares only the way into a broker, so
        # that it can tell a mistake of the gateway. Only the top may start one.
        return importer == "simulate" or LEVELS[importer] < len(LAYERS) - 1
    below = LEVELS[imported] < LEVELS[importer]
    return not below and LEVELS[importer] < len(LAYERS) - 1


def test_every_part_has_its_place() -> None:
    """A new part must say on which layer it stands, and one that is gone says nothing."""
    parts = {_name(file).split(".")[0] for file in MODULES} - {""}
    assert parts == {*LEVELS, "simulate"}


def test_a_module_imports_only_what_is_below_it() -> None:
    """Layers are one-way: neither upwards nor to a neighbour."""
    breaches = [
        f"{_name(file)} imports {imported}"
        for file in MODULES
        for imported in _imports(file)
        if (own := _own(imported)) is not None and _breach(_name(file).split(".")[0], own)
    ]
    assert breaches == []


def _users_of(*names: str) -> set[str]:
    return {
        _name(file)
        for file in MODULES
        for imported in _imports(file)
        if any(f"{imported}.".startswith(f"{name}.") for name in names)
    }


def test_nothing_of_sqlite_shows_above_the_store() -> None:
    """A PostgreSQL store is to stand beside it: only the assembly names the one in use."""
    users = _users_of("sqlite3", "aiosqlite", f"{PACKAGE}.store.sqlite")
    outside = {name for name in users if not name.startswith("store.sqlite")}
    assert {name for name in outside if name.split(".")[0] not in ("app", "cli")} == set()
    drivers = _users_of("sqlite3", "aiosqlite")
    assert all(name.startswith("store.sqlite") for name in drivers)


def test_only_bridge_and_simulated_dock_know_the_mqtt_library() -> None:
    """Everybody else speaks to the interface of the bridge."""
    users = _users_of("aiomqtt", "paho")
    assert {name.split(".")[0] for name in users} <= {"mqtt", "bridge", "simulate"}


def test_the_model_does_no_io() -> None:
    """It is imported by everything, tests of nothing else included."""
    allowed = {"collections", "dataclasses", "enum", "json", "re", "typing", PACKAGE}
    model = [file for file in MODULES if _name(file).split(".")[0] == "model"]
    assert {imported.split(".")[0] for file in model for imported in _imports(file)} <= allowed


@pytest.mark.parametrize(
    ("importer", "imported", "breach"),
    [
        ("errors", "model", True),
        ("store", "dispatcher", True),
        ("rpc", "http", True),
        ("bridge", "store", True),
        ("simulate", "errors", True),
        ("commands", "simulate", True),
        ("dispatcher", "store", False),
        ("store", "store", False),
        ("cli", "app", False),
        ("cli", "simulate", False),
    ],
)
def test_the_rule_itself_tells_right_from_wrong(importer: str, imported: str, breach: bool) -> None:
    """A test that reads sources is only as good as its rule."""
    assert _breach(importer, imported) is breach


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """At the top, inside a function, relative or absolute."""
    file = SERVER / PACKAGE / "store" / "sqlite" / "store.py"
    assert f"{PACKAGE}.store.sqlite.writer.GroupWriter" in set(_imports(file))
    source = "def f():\n    from dockgate_server import app\n    import sqlite3.dbapi2\n"
    other = tmp_path / "other.py"
    other.write_text(source, encoding="utf-8")
    assert list(_imports(other)) == ["dockgate_server.app", "sqlite3.dbapi2"]


def test_every_file_is_short_enough_to_be_read() -> None:
    """A longer one holds two things."""
    files = [file for file in SERVER.rglob("*") if file.suffix in (".py", ".sql")]
    lines = {
        str(file.relative_to(SERVER)): len(file.read_text(encoding="utf-8").splitlines())
        for file in files
    }
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_no_file_names_a_home_directory() -> None:
    """What works only for one person's machine is broken for everybody else."""
    home = re.compile(r"(?<![\w.$}])/(?:home|Users)/\w|(?<![\w.$}])/root/\w")
    folders = [ROOT / name for name in ("server", "proto", "tools", "tests")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    files += [ROOT / name for name in ("pyproject.toml", "Makefile", "buf.yaml", "buf.gen.yaml")]
    texts = {".py", ".sql", ".proto", ".toml", ".yaml", ".json", ".sh", ".md", ""}
    named = [
        str(file.relative_to(ROOT))
        for file in files
        if file.suffix in texts
        and "__pycache__" not in file.parts
        and home.search(file.read_text(encoding="utf-8"))
    ]
    assert named == []
