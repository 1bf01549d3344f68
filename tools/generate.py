"""Generate the stubs of every language from the schema, or check that they are fresh.

::

    python -m tools.generate [--check] [LANGUAGE …]

Generation gives the same bytes every time, so it is done in a temporary folder and compared: only
what changed is written, and for ``--check`` any difference means that somebody forgot ``make gen``
or edited a generated file. A language whose toolchain is not on this machine is named and left
alone; only for one that was asked for is that an error. Java is generated only when asked for, into
a folder that is not committed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools import plugins

GENERATED = Path("gen")
# What Python, npm and the compiler of TypeScript leave in a folder of stubs. None is committed.
LEFT_BY_TOOLS = frozenset({"__pycache__", "node_modules", "package-lock.json", "dist"})


@dataclass(frozen=True)
class Language:
    """A language, where its stubs are and what they are made with."""

    name: str
    folder: Path
    template: str
    """What buf is told."""
    install: Callable[[], Path | None]
    """Gets the generators that pip does not install, and returns their folder."""
    by_hand: frozenset[str] = frozenset()
    """The files at the top of the folder that nothing generates: the definition of a package."""


COMMITTED = (
    Language("python", GENERATED / "python", "buf.gen.yaml", plugins.python),
    Language(
        "go", GENERATED / "go", "buf.gen.go.yaml", plugins.go, frozenset({"go.mod", "go.sum"})
    ),
    Language(
        "ts",
        GENERATED / "ts",
        "buf.gen.ts.yaml",
        plugins.ts,
        frozenset({"package.json", "tsconfig.json"}),
    ),
)
JAVA = Language(
    "java",
    Path("build", "java"),
    "buf.gen.java.yaml",
    plugins.java,
    frozenset({"pom.xml", "target"}),
)
LANGUAGES = {language.name: language for language in (*COMMITTED, JAVA)}


def files(root: Path, by_hand: frozenset[str]) -> dict[str, bytes]:
    """Return path and content of every generated file below ``root``."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if path.is_file() and name.parts[0] not in by_hand and not LEFT_BY_TOOLS & {*name.parts}:
            found[name.as_posix()] = path.read_bytes()
    return found


def generate(language: Language, out: Path) -> dict[str, bytes]:
    """Return the files that the schema generates for a language.

    Raises:
        Missing: The language's toolchain is not here.
        Broken: The schema does not generate.
    """
    folder = language.install()
    # buf, and the generators that pip installs, lie beside python.
    folders = [*([str(folder)] if folder else []), str(Path(sys.executable).parent)]
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    command = ["buf", "generate", "--template", language.template, "--output", str(out)]
    if subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode != 0:
        raise plugins.Broken(f"the schema does not generate with {language.template}")
    return files(out / language.folder, frozenset())


def differences(folder: Path, present: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """Return one line for each file that is not as it should be."""
    lines = []
    for name in sorted(present.keys() | fresh.keys()):
        if name not in present:
            lines.append(f"missing: {folder}/{name}")
        elif name not in fresh:
            lines.append(f"left over: {folder}/{name}")
        elif present[name] != fresh[name]:
            lines.append(f"stale: {folder}/{name}")
    return lines


def write(folder: Path, present: dict[str, bytes], fresh: dict[str, bytes]) -> None:
    """Make the generated part of ``folder`` what it should be, touching only what differs."""
    for name, content in fresh.items():
        if present.get(name) != content:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for name in present.keys() - fresh.keys():
        path = folder / name
        path.unlink()
        while (path := path.parent) != folder and not any(path.iterdir()):
            path.rmdir()


def bring_up(language: Language, check: bool, asked_for: bool) -> bool:
    """Generate or check one language and say how it went; return whether all is well.

    A toolchain that is not here is well, unless its language was asked for by name.
    """
    folder = language.folder
    with tempfile.TemporaryDirectory(prefix="generate-") as out:
        try:
            fresh = generate(language, Path(out))
        except plugins.Missing as missing:
            print(f"{folder} was {'NOT CHECKED' if check else 'left alone'}: {missing}", flush=True)
            return not asked_for
        except plugins.Broken as broken:
            print(f"error: {folder}: {broken}", file=sys.stderr, flush=True)
            return False
    present = files(folder, language.by_hand)
    lines = differences(folder, present, fresh)
    if check:
        print("\n".join(lines) or f"{folder} is fresh.", flush=True)
        return not lines
    write(folder, present, fresh)
    print(f"{folder}: {len(fresh)} files, {len(lines)} changed.", flush=True)
    return True


def main() -> None:
    """Do what the command line says; end with status 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("language", nargs="*", help=f"some of: {', '.join(LANGUAGES)}")
    arguments = parser.parse_args()
    if unknown := set(arguments.language) - LANGUAGES.keys():
        parser.error(f"no such language: {', '.join(sorted(unknown))}")
    chosen = [LANGUAGES[name] for name in arguments.language] or list(COMMITTED)
    with ThreadPoolExecutor() as pool:
        by_name = bool(arguments.language)
        went_well = list(pool.map(lambda one: bring_up(one, arguments.check, by_name), chosen))
    if JAVA in chosen and all(went_well):
        shutil.copy(plugins.TOOLS / "java" / "pom.xml", JAVA.folder)
    if not all(went_well):
        sys.exit(
            "error: not all stubs are what proto/ generates; `make gen` renews them"
            if arguments.check
            else "error: not everything could be generated"
        )


if __name__ == "__main__":
    main()
