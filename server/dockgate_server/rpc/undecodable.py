"""Keeping a path that is no text from ending the server.

gRPC decodes the path of each call in the loop that takes calls. Bytes that are not UTF-8 raise
there, that ends the loop, and with it the server for everybody: one call of anybody would do, and
nothing that gRPC lets us add comes before it. What Python does about bytes that cannot be decoded
can be said for the whole process alone, so it is asked here who is decoding: that loop gets
escapes in place of the bytes, and everybody else the exception as ever.
"""

import asyncio
import codecs
from typing import Final

_LOOP: Final = "AioServer._server_main_loop"
"""The coroutine that takes calls, as its task knows it."""

_escaped = codecs.lookup_error("backslashreplace")


def tolerate() -> None:
    """Let the loop that takes gRPC's calls live. Doing so again changes nothing."""
    codecs.register_error("strict", _strict)


def _strict(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError) and _is_taking_calls():
        return _escaped(error)
    raise error


def _is_taking_calls() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # there is no loop here
        return False
    return task is not None and getattr(task.get_coro(), "__qualname__", "") == _LOOP
