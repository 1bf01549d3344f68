"""What of the server has to be played so that one seed decides everything.

Nothing of what it does is changed: only where its ids, its log and its connections come from.
"""

import asyncio
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dockgate_server import command_ids, hub
from dockgate_server.codec.catalogue import Method
from dockgate_server.dispatcher import burst
from dockgate_server.store.sqlite import changes, opening
from simulation.disk import InlineConnection
from simulation.record import JOB_SILENCE_SECONDS, NOTED_REPLIES
from simulation.world import World

_EXPECTED_ERRORS = frozenset({"store_cannot_write", "store_cannot_read"})
"""What the server may log as an error when the disk fails."""


class _Log:
    """Takes the log: an error is a violation, unless a fault explains it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def debug(self, event: str, **_: Any) -> None:
        """Not kept."""

    info = warning = debug

    def error(self, event: str, **values: Any) -> None:
        """Something is wrong with the server, or with its disk."""
        if event not in _EXPECTED_ERRORS or not self._world.faults["disk failed"]:
            self._world.violate(f"logged as an error: {event} {values}")

    exception = error


class _NumberedWatcher(hub.Watcher):
    """Sets of watchers then have an order that does not depend on addresses."""

    __slots__ = ("_number",)
    made = 0

    def __init__(self) -> None:
        super().__init__()
        _NumberedWatcher.made += 1
        self._number = _NumberedWatcher.made

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


def _connect(_: Path) -> InlineConnection:
    loop: Any = asyncio.get_running_loop()
    return InlineConnection(loop.disk, loop)


@contextmanager
def applied(world: World) -> Iterator[None]:
    """The server as the simulation needs it, while the block runs."""
    _NumberedWatcher.made = 0
    log = _Log(world)

    def new_id(now: int) -> str:
        return str(uuid.UUID(int=world.rng.getrandbits(128), version=4))

    with ExitStack() as stack:
        for name, module in sorted(sys.modules.items()):
            if name.startswith("dockgate_server.") and hasattr(module, "_log"):
                stack.enter_context(patch.object(module, "_log", log))
        stack.enter_context(patch.object(command_ids, "new", new_id))
        stack.enter_context(patch.object(opening, "connect", _connect))
        stack.enter_context(patch.object(hub, "Watcher", _NumberedWatcher))
        # Small, so that a short history gets beyond them.
        stack.enter_context(patch.object(hub, "TAIL_EVENTS", 40))
        stack.enter_context(patch.object(hub, "TOPIC_EVENTS", 3))
        stack.enter_context(patch.object(burst, "FEWEST_WAITING", 5))
        stack.enter_context(patch.object(burst, "FEWEST_ACCEPTED", 3))
        stack.enter_context(patch.object(changes, "NOTED_REPLIES", NOTED_REPLIES))
        stack.enter_context(patch.object(Method, "job_silence_seconds", JOB_SILENCE_SECONDS))
        yield
