"""How a process of ours starts: without what it would load for nothing, and what stays, stays."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_rich() -> Iterator[None]:
    """Let structlog do without rich, which it would load for tracebacks that we do not print.

    It is an eighth of the time of a start, and 3 MiB. To be entered around the first import of
    anything that logs.
    """
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        del sys.modules["rich"]


def all_is_loaded() -> None:
    """Let the search for garbage pass over what is here by now, and be rare."""
    # Looking through it would stop all for 60 ms.
    gc.freeze()
    # Each command leaves hundreds of objects behind at once; few of them in a circle.
    gc.set_threshold(20_000, 10, 10)
