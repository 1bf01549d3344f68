"""Get the generators of the languages whose generators pip does not install.

Each is pinned exactly by a file of its language's own in ``tools/``, and installed once per state
of that file into the ignored folder ``.cache``. What is not on this machine, or cannot be fetched,
is said by name: the stubs of that language are then left as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.rpc import status_pb2

CACHE = Path(".cache")
TOOLS = Path("tools")
# Without a network some of these tools wait for minutes.
FETCH_SECONDS = 120
NPM_OPTIONS = (
    *("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
    *("--fetch-timeout=30000", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"),
)


class Missing(Exception):
    """Something that a language needs is not here; the text names it."""


class Broken(Exception):
    """Something is here but not as it has to be; the text says what."""


def python() -> Path | None:
    """Do nothing: the environment holds the generators of Python."""
    return None


def go() -> Path:
    """Return the folder with ``protoc-gen-go`` and ``protoc-gen-go-grpc``."""
    _need("go")
    definition = TOOLS / "go"

    def install(folder: Path) -> None:
        # GOFLAGS and GOWORK of whoever runs this must not change what is built.
        settings = {"GOBIN": str(folder.resolve()), "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
        _run(["go", "install", "-trimpath", "tool"], definition, "the plugins of Go", settings)

    return _once("go", [definition / "go.mod", definition / "go.sum"], install)


def ts() -> Path:
    """Return the folder with ``protoc-gen-ts_proto``; put the schema of errors beside it."""
    _need("node")
    _need("npm")
    definition = TOOLS / "ts" / "package.json"

    def install(folder: Path) -> None:
        shutil.copy(definition, folder)
        _run(["npm", "install", *NPM_OPTIONS], folder, "the plugin of TypeScript")
        _check_pins(definition, folder)

    _copy_google_rpc()
    return _once("ts", [definition], install) / "node_modules" / ".bin"


def java() -> Path:
    """Return the folder with ``protoc`` and ``protoc-gen-grpc-java``."""
    _need("mvn")
    definition = TOOLS / "java" / "pom.xml"
    system = {"Linux": "linux", "Darwin": "osx", "Windows": "windows"}[platform.system()]
    machine = {"arm64": "aarch_64", "aarch64": "aarch_64"}.get(platform.machine(), "x86_64")

    def install(folder: Path) -> None:
        for program, group, version in (
            ("protoc", "com.google.protobuf", "protobuf.version"),
            ("protoc-gen-grpc-java", "io.grpc", "protoc-gen-grpc-java.version"),
        ):
            artifact = f"{group}:{program}:{_property(definition, version)}:exe:{system}-{machine}"
            goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
            options = [f"-Dartifact={artifact}", f"-DoutputDirectory={folder.resolve()}"]
            _run(["mvn", "--quiet", "--batch-mode", goal, *options], folder, artifact)
            (fetched,) = folder.glob(f"{program}-[0-9]*.exe")
            fetched.chmod(0o755)
            fetched.rename(folder / program)

    return _once("java", [definition], install)


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")


def _once(name: str, definition: list[Path], install: Callable[[Path], None]) -> Path:
    """Return the folder that ``install`` filled for these very files, now or earlier."""
    state = hashlib.sha256(f"{sys.platform} {platform.machine()}".encode())
    for file in definition:
        state.update(file.read_bytes())
    folder = CACHE / name / state.hexdigest()[:16]
    if not folder.is_dir():
        print(f"Fetching what generates {name} (once) …", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as temporary:
            new = Path(temporary, "new")
            new.mkdir()
            install(new)
            # A folder is there only when it is whole. That of a run which was faster is as good.
            with suppress(OSError):
                new.rename(folder)
    return folder.resolve()


def _run(
    command: list[str], folder: Path, what: str, settings: dict[str, str] | None = None
) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(settings or {})},
            text=True,
            capture_output=True,
            check=False,
            timeout=FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired as expired:
        raise Missing(f"{what} could not be fetched in {FETCH_SECONDS} s") from expired
    if done.returncode == 0:
        return
    said = (done.stdout + done.stderr).strip()
    if "SECURITY ERROR" in said or "EINTEGRITY" in said:
        raise Broken(f"{what} is not what it was when it was pinned:\n{said}")
    raise Missing(f"{what} could not be fetched ({' '.join(command[:2])}):\n{said}")


def _check_pins(definition: Path, folder: Path) -> None:
    """Hold npm to exact versions. A lock file would, but names the registry that it came from."""
    wanted: dict[str, Any] = json.loads(definition.read_text(encoding="utf-8"))
    pins = {**wanted["dependencies"], **wanted["overrides"]}
    lock = folder / "node_modules" / ".package-lock.json"
    packages: dict[str, Any] = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    found = {path.rpartition("node_modules/")[2]: one["version"] for path, one in packages.items()}
    if found != pins:
        floating = sorted(f"{name} {version}" for name, version in found.items() - pins.items())
        wrong = f"lacks {', '.join(floating)}" if floating else "pins what is not installed"
        raise Broken(f"{definition} {wrong}")


def _copy_google_rpc() -> None:
    """Take ``google/rpc/*.proto`` from the package that the server itself uses."""
    target = CACHE / "google-rpc" / "google" / "rpc"
    target.mkdir(parents=True, exist_ok=True)
    for name in ("status.proto", "error_details.proto"):
        shutil.copyfile(Path(status_pb2.__file__).with_name(name), target / name)


def _property(pom: Path, name: str) -> str:
    """Return one of the properties of a Maven project."""
    project = ElementTree.parse(pom)  # noqa: S314 - our own file
    value = project.findtext(f".//{{*}}{name}")
    if value is None:
        raise Broken(f"{pom} has no property {name}")
    return value
