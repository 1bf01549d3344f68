"""Disks that can be filled up, by whoever has the rights for it."""

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.server_process import ServerProcess


class LimitedFiles:
    """No file of the server's may become longer than its write-ahead log is now."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "dockgate.db"
        self._pid = 0

    def fill(self, server: ServerProcess) -> None:
        """Let nothing more be written."""
        self._pid = server.process.pid
        self._limit(Path(f"{self.database}-wal").stat().st_size)

    def make_room(self) -> None:
        """Let it be written again."""
        with contextlib.suppress(ProcessLookupError):  # another process has no such limit
            self._limit(resource.RLIM_INFINITY)

    def _limit(self, longest: int) -> None:
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (longest, resource.RLIM_INFINITY))


class SmallDisk:
    """A real file system without any room left."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "dockgate.db"
        self._filler = folder / "filler"

    def fill(self, server: ServerProcess | None = None) -> None:
        """Let nothing more be written."""
        with self._filler.open("wb", buffering=0) as filler:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        filler.write(b"x" * size)

    def make_room(self) -> None:
        """Let it be written again."""
        self._filler.unlink()


Disk = LimitedFiles | SmallDisk


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A file system of 2 MiB on the folder, for whoever may mount one."""
    mount = ("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(("umount", str(folder)), check=True)
