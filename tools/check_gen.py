"""Check that ``gen/`` holds what the schema generates.

Generation gives the same bytes every time, so it is repeated in a temporary folder and compared:
any difference means that somebody forgot ``make gen`` or edited a generated file.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

GENERATED = Path("gen")


def files(root: Path) -> dict[str, bytes]:
    """Return path and content of every file below ``root``, apart from Python's own cache."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(committed: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """Return one line for each file that is not as it should be."""
    lines = []
    for name in sorted(committed.keys() | fresh.keys()):
        if name not in committed:
            lines.append(f"missing: {GENERATED}/{name}")
        elif name not in fresh:
            lines.append(f"left over: {GENERATED}/{name}")
        elif committed[name] != fresh[name]:
            lines.append(f"stale: {GENERATED}/{name}")
    return lines


def main() -> None:
    """Print what differs and end with status 1 if anything does."""
    with tempfile.TemporaryDirectory(prefix="check-gen-") as folder:
        if subprocess.run(["buf", "generate", "--output", folder], check=False).returncode != 0:
            sys.exit("error: the schema does not generate")
        lines = differences(files(GENERATED), files(Path(folder, GENERATED)))
    if lines:
        print("\n".join(lines))
        sys.exit(f"error: {GENERATED}/ is not what proto/ generates; `make gen` renews it")
    print(f"{GENERATED}/ is fresh.")


if __name__ == "__main__":
    main()
