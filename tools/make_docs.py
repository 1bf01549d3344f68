"""Write what integrators read, ``docs/methods/``, ``docs/events/``, OpenAPI; or check it.

Made from ``proto/`` with its comments. The examples of the three methods that the platform's pages
show are those of the pages; ``tests/schema/golden`` holds them. The same schema makes the same
bytes every time, so the check makes everything again and compares.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dockgate_server.docs import event_pages, markdown, openapi
from dockgate_server.docs.schema import Schema

METHODS = Path("docs", "methods")
EVENTS = Path("docs", "events")
OPENAPI = Path("docs", "openapi.json")
PACKAGED = Path("server", "dockgate_server", "docs", "openapi.json")
GOLDEN = Path("tests", "schema", "golden")
VALIDATE = Path(".cache", "protovalidate", "proto")
ENTRIES = (
    "dockgate/dji/v1/method.proto",
    "dockgate/dji/v1/event.proto",
    "dockgate/downlink/v1/command_service.proto",
    "dockgate/downlink/v1/device_request_service.proto",
)


def descriptor_set(proto: Path) -> bytes:
    """Return the schema below ``proto`` as a FileDescriptorSet with comments and imports."""
    with tempfile.TemporaryDirectory(prefix="make-docs-") as folder:
        out = Path(folder, "schema.binpb")
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"--proto_path={proto}", f"--proto_path={VALIDATE}"),
            *("--include_imports", "--include_source_info"),
            f"--descriptor_set_out={out}",
            *ENTRIES,
        ]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit("error: the schema does not compile, see above")
        return out.read_bytes()


def submissions(names: set[str]) -> dict[str, Mapping[str, Any]]:
    """Return the platform's own examples of submissions, by method."""
    found = {}
    for file in sorted(GOLDEN.glob("*.json")):
        example = json.loads(file.read_bytes())
        if isinstance(example, dict) and {"vendor", "payload"} <= example.keys():
            found[example["command_type"]] = example
    return {name: example for name, example in found.items() if name in names}


def documents(proto: Path) -> dict[Path, str]:
    """Return the content of every file that is made."""
    schema = Schema(descriptor_set(proto))
    given = submissions({method.name for method in schema.methods})
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    whole = openapi.document(schema, given, version["version"])
    found = {METHODS / name: text for name, text in markdown.pages(schema).items()}
    found |= {EVENTS / name: text for name, text in event_pages.pages(schema).items()}
    return {**found, OPENAPI: openapi.as_text(whole), PACKAGED: openapi.as_served(whole)}


def write(made: Mapping[Path, str], root: Path) -> None:
    """Write the files below ``root`` and remove pages that are made no longer."""
    for page in _pages(root):
        if page not in made:
            (root / page).unlink()
    for name, text in made.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8", newline="\n")


def differences(made: Mapping[Path, str], root: Path) -> list[str]:
    """Return one line for each file below ``root`` that is not as it should be."""
    lines = []
    for name, text in sorted(made.items()):
        file = root / name
        if not file.is_file():
            lines.append(f"missing: {name}")
        elif file.read_bytes() != text.encode():
            lines.append(f"stale: {name}")
    return lines + [f"left over: {page}" for page in _pages(root) if page not in made]


def _pages(root: Path) -> list[Path]:
    """Return what there is in the folders that hold nothing but what is made."""
    found = [page for folder in (METHODS, EVENTS) for page in (root / folder).rglob("*")]
    return sorted(page.relative_to(root) for page in found if page.is_file())


def main() -> None:
    """Write everything, or with ``--check`` end with status 1 if that would change anything."""
    parser = argparse.ArgumentParser(description="Write the method reference and OpenAPI.")
    parser.add_argument("--check", action="store_true", help="only say what would change")
    parser.add_argument("--proto", type=Path, default=Path("proto"), help="the schema")
    parser.add_argument("--root", type=Path, default=Path(), help="below which to write")
    arguments = parser.parse_args()
    made = documents(arguments.proto)
    if not arguments.check:
        write(made, arguments.root)
        print(f"{METHODS}/, {EVENTS}/ and {OPENAPI} are written.")
        return
    lines = differences(made, arguments.root)
    if lines:
        print("\n".join(lines))
        sys.exit("error: these are not what proto/ makes; `make docs` renews them")
    print(f"{METHODS}/, {EVENTS}/ and {OPENAPI} are fresh.")


if __name__ == "__main__":
    main()
