"""An event loop for one process of the gateway, on virtual time.

It runs what asyncio's own futures and tasks hand to it, one turn at a time, and between two turns
the world goes on: so messages, commits and timers come between any two steps of the gateway. A
process that is killed never runs anything again: no ``finally``, no callback, no timer.
"""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any
from unittest.mock import patch

from simulation.world import LAG, World


class Handle:
    """A call that is due, now or later."""

    __slots__ = ("args", "call", "cancelled_", "context")

    def __init__(
        self, call: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self.call = call
        self.args = args
        self.context = context
        self.cancelled_ = False

    def cancel(self) -> None:
        """Do not make the call."""
        self.cancelled_ = True

    def cancelled(self) -> bool:
        """Whether the call will not be made."""
        return self.cancelled_


class VirtualLoop(asyncio.AbstractEventLoop):
    """What asyncio needs of a loop, without a selector, a thread or a clock.

    Args:
        world: The time, and what happens besides.
        kill_after: After how many steps it is killed; None for never.
        on_kill: Kills the process; called in the place of the step behind the last one.
    """

    def __init__(self, world: World, kill_after: int | None, on_kill: Callable[[], None]) -> None:
        self._world = world
        self._ready: deque[Handle] = deque()
        self._armed = False
        self._steps_left = kill_after if kill_after is not None else -1
        self.on_kill = on_kill
        self._tasks: list[asyncio.Task[Any]] = []
        self.alive = True
        self.disk: Any = None
        """What a connection to the database, opened on this loop, is connected to."""

    def spare(self) -> None:
        """Let it live after all."""
        self._steps_left = -1

    def kill(self) -> None:
        """Run nothing any more."""
        self.alive = False
        self._ready.clear()
        self._world.after(0.0, self.bury)

    def bury(self) -> None:
        """Drop what the dead process was doing; whatever that still tries has no effect."""
        asyncio._set_running_loop(self)
        try:
            # Generators that are torn out of the middle complain where nobody can hear it.
            with patch.object(sys, "unraisablehook", lambda _: None):
                self._drop_tasks()
        finally:
            asyncio._set_running_loop(None)

    def _drop_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with contextlib.suppress(Exception):
                    task.get_coro().close()  # type: ignore[union-attr]

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Virtual seconds."""
        return self._world.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        """Make a call in the next turn."""
        handle = Handle(callback, args, context)
        if self.alive:
            self._ready.append(handle)
            if not self._armed:
                self._armed = True
                self._world.after(self._world.random() * LAG, self._turn)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        """Make a call at a time."""
        handle = Handle(callback, args, context)
        self._world.at(when, self._due, handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Handle:
        """Make a call after a while."""
        return self.call_at(self._world.now + delay, callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Any]":
        """A task of this loop."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        if len(self._tasks) > 256:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    def get_debug(self) -> bool:
        """Never: it slows everything down."""
        return False

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.alive

    def is_closed(self) -> bool:
        """Whether the process is dead."""
        return not self.alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An exception that nobody has looked at: of a living process, a bug."""
        if self.alive:
            error = context.get("exception")
            self._world.violate(f"unhandled in the event loop: {context['message']}: {error!r}")

    # Turns.

    def _due(self, handle: Handle) -> None:
        if self.alive and not handle.cancelled_:
            self._ready.append(handle)
            if not self._armed:
                self._armed = True
                self._world.after(0.0, self._turn)

    def _turn(self) -> None:
        """Make the calls that are due now; those that they cause come in the next turn."""
        self._armed = False
        ready = self._ready
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(ready)):
                if not ready:  # killed in the middle
                    break
                handle = ready.popleft()
                if handle.cancelled_:
                    continue
                if self._steps_left == 0:
                    self.on_kill()
                    return
                self._steps_left -= 1
                if handle.context is None:
                    handle.call(*handle.args)
                else:
                    handle.context.run(handle.call, *handle.args)
        except Exception as error:
            self._world.violate(f"a callback raised {error!r}")
        finally:
            asyncio._set_running_loop(None)
        if ready and not self._armed:
            self._armed = True
            self._world.after(self._world.random() * LAG, self._turn)
