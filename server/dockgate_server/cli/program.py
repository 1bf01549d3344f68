"""How to call this very program, for commands that are printed to be pasted."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from dockgate_server.cli.options import DEFAULT_SERVER


def program() -> str:
    """What to type for ``dockgate`` in this folder."""
    called = sys.argv[0]
    path = Path(called)
    if path.name == "__main__.py":
        return f"{_short(sys.executable)} -m dockgate_server"
    if not path.is_absolute() and path.exists():
        # As it was typed. PATH does not count here: make puts the environment on it, the terminal
        # into which the command is pasted does not have it there.
        return shlex.quote(called)
    if shutil.which("dockgate") == called or not path.exists():
        return "dockgate"
    return _short(called)


def server_option(server: str) -> str:
    """The option that leads to the server, empty where the default does."""
    if server == os.environ.get("DOCKGATE_SERVER", DEFAULT_SERVER):
        return ""
    return f" --server {shlex.quote(server)}"


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return shlex.quote(relative if len(relative) < len(path) else path)
