"""The gateway runs on uvloop where it has workers."""

from support import loops
from support.loops import Loops


def pytest_asyncio_loop_factories() -> Loops:
    """As its bridge and its HTTP, on both."""
    return loops.BOTH
