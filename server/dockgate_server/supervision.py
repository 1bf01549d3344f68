"""Named tasks that must not end: one that does ends the process.

A dead loop that nobody notices is the worst failure a gateway can have: it would go on to
accept commands that it no longer sends.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final

import structlog

_LONGEST_REASON: Final = 300

_log = structlog.get_logger(__name__)


class TaskEnded(Exception):
    """A task that is to run for as long as the process has ended."""


class Supervisor:
    """Starts tasks, watches them, and cancels them when it is left."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> "Supervisor":
        """Begin without tasks."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel the tasks and wait for them."""
        self._ended.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task that must not end."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.append(task)
        self.watch(task)

    def watch(self, task: "asyncio.Task[None]") -> None:
        """Watch a task that somebody else ends."""
        task.add_done_callback(self._note_end)

    async def wait(self, stop: asyncio.Event) -> None:
        """Return when ``stop`` is set.

        Raises:
            TaskEnded: A task has ended first; its exception is the cause.
        """
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((stopping, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
        finally:
            stopping.cancel()

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        if self._ended.done():
            return
        cause = None if task.cancelled() else task.exception()
        # Here, as nobody else is sure to have the traceback.
        _log.critical("part_ended", task=task.get_name(), exc_info=cause)
        ended = TaskEnded(f"the task {task.get_name()!r} has ended{_why(cause)}")
        ended.__cause__ = cause
        self._ended.set_exception(ended)


def _why(cause: BaseException | None) -> str:
    if cause is None:
        return ""
    return f": {' '.join(f'{type(cause).__name__}: {cause}'.split())}"[:_LONGEST_REASON]
