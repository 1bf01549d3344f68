"""Child processes that end when we do, however we end."""

import asyncio
import contextlib
import json
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

_STOP_SECONDS = 10.0
"""How long a child may take to end by itself before it is killed."""
_KEPT_LINES = 100
_LONGEST_LINE = 2**20


class ChildProblem(Exception):
    """A child did not start, or ended; the message says which one and its last words."""


class Child:
    """A process with a name.

    Its standard error is kept while it starts, as the reason in case it fails; once it is ready
    each line is passed on to ours.
    """

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, is_ready: Callable[[str], bool]
    ) -> None:
        self.name = name
        self.process = process
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._is_ready = is_ready
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._is_passing_on = False
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = (
            asyncio.create_task(self._read_output(process.stdout), name=f"{name}-output"),
            asyncio.create_task(self._read_errors(process.stderr), name=f"{name}-errors"),
        )
        self.ended = asyncio.create_task(self._wait(), name=f"{name}-ended")

    def pass_errors_on(self) -> None:
        """From now on show what it has to say."""
        self._is_passing_on = True

    @property
    def has_crashed(self) -> bool:
        """Whether it wrote a traceback, of which one line says nothing."""
        return any("Traceback (most recent call last)" in line for line in self._last)

    def show_traceback(self) -> None:
        """Show what it wrote if it has crashed; that is for whoever mends the bug."""
        if self.has_crashed:
            sys.stderr.writelines(f"{self.name}: {line}\n" for line in self._last)

    def problem(self) -> ChildProblem:
        """Why it has ended, in its own words where there are some."""
        code = self.process.returncode
        if code is not None and code < 0:
            # Somebody killed it; what it said before has nothing to do with that.
            return ChildProblem(f"the {self.name} has ended by signal {-code}")
        last = f": {_words(self._last[-1])}" if self._last and not self.has_crashed else ""
        return ChildProblem(f"the {self.name} has ended with exit code {code}{last}")

    async def stop(self) -> None:
        """Ask it to end, and kill it when it does not."""
        self._is_passing_on = False
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            await asyncio.wait((self.ended,), timeout=_STOP_SECONDS)
            self.kill()
        await self.ended

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    async def _wait(self) -> None:
        # What it wrote last comes before its end.
        await asyncio.gather(*self._readers)
        await self.process.wait()

    async def _read_output(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            text = line.decode(errors="replace").strip()
            if not self.ready.done() and self._is_ready(text):
                self.ready.set_result(text)

    async def _read_errors(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._last.append(text)
            if text and self._is_passing_on:
                sys.stderr.write(f"{self.name}: {text}\n")
                sys.stderr.flush()


class Children:
    """Starts processes, watches them, and ends them all, the last one first."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        """Begin without children."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End them all."""
        try:
            for child in reversed(self._children):
                await child.stop()
        finally:
            self.kill_all()

    def kill_all(self) -> None:
        """End them at once, for who cannot wait."""
        for child in self._children:
            child.kill()

    async def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        is_ready: Callable[[str], bool] = bool,
    ) -> Child:
        """Start a process; ``is_ready`` recognises the line of its output that says it is ready."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                # A session of its own: the terminal's Ctrl-C reaches us alone, and we decide in
                # which order things end.
                start_new_session=True,
                limit=_LONGEST_LINE,
            )
        except OSError as error:
            raise ChildProblem(f"cannot start the {name}: {error}") from error
        child = Child(name, process, is_ready)
        self._children.append(child)
        return child

    async def until_ready(
        self,
        child: Child,
        seconds: float,
        *,
        sign: "asyncio.Future[str] | None" = None,
        quiet: bool = False,
    ) -> None:
        """Wait for a child to be ready.

        Args:
            child: The child.
            seconds: How long at most.
            sign: Is done when the child is ready; by default the line of its output is the sign.
            quiet: Whether its standard error stays hidden as long as it runs.

        Raises:
            ChildProblem: It has ended instead, or takes too long.
        """
        ready = sign or child.ready
        await asyncio.wait(
            (ready, child.ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if child.ended.done():
            child.show_traceback()
            raise child.problem()
        if not ready.done():
            raise ChildProblem(f"the {child.name} is not ready after {seconds:.0f} s")
        if not quiet:
            child.pass_errors_on()

    async def first_end(self) -> ChildProblem:
        """Wait for a child to end, which none does unless something is wrong."""
        ends = [child.ended for child in self._children]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return next(child for child in self._children if child.ended.done()).problem()


def _words(line: str) -> str:
    """A line of standard error without what our own programs put around an error."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line.removeprefix("error: ")
