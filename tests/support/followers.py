"""Callers who follow commands, lose their connection, come back, and notice what they miss.

What there was to see is told by the database, at the moment it is committed.
"""

import asyncio
import contextlib
import math
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import cursor
from dockgate_server.commands import Commands, FleetUpdate
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import Caller
from dockgate_server.model.command import CommandEvent

RECORDING, PHOTO, CHARGE = "camera_recording_start", "camera_photo_take", "charge_open"
"""Methods that start no job, perhaps one, and always one."""

_OPEN = ("ACCEPTED", "DELIVERED")
_JOB_ENDS = ("OK", "FAILED", "CANCELED", "REJECTED", "TIMEOUT", "PARTIALLY_DONE")

_NEW_EVENTS = """
    SELECT e.seq, c.id, e.revision, e.kind, e.state, c.tenant, c.device_id, c.command_type
    FROM command_event AS e JOIN command AS c ON c.seq = e.command_seq
    WHERE e.seq > ? ORDER BY e.seq
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as the database has it."""

    seq: int
    command_id: str
    revision: int
    kind: str
    state: bytes
    tenant: str
    device_id: str
    command_type: str

    def is_last(self, follow_job: bool) -> bool:
        """Whether a watch ends behind it."""
        state = orjson.loads(self.state)
        if state["status"] in _OPEN:
            return False
        if not follow_job or state["status"] != "SUCCEEDED" or self.command_type == RECORDING:
            return True
        if "job" not in state:
            return self.command_type == PHOTO
        return state["job"]["state"] in _JOB_ENDS


class Record:
    """Every event there ever was, also of commands that have been removed."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.removed: set[str] = set()
        self.removed_up_to = 0
        """The newest event that has been removed."""
        self.closing = False
        """Whether the gateway is stopping, and watches may be told so."""

    @property
    def newest(self) -> int:
        """The seq of the newest event."""
        return self.events[-1].seq if self.events else 0

    def note(self, db: sqlite3.Connection) -> None:
        """Take in what a commit has changed."""
        self.events += (Recorded(*row) for row in db.execute(_NEW_EVENTS, (self.newest,)))
        kept = {command_id for (command_id,) in db.execute("SELECT id FROM command")}
        gone = [event for event in self.events if event.command_id not in kept]
        self.removed |= {event.command_id for event in gone}
        self.removed_up_to = max((event.seq for event in gone), default=0)

    def life(self, command_id: str) -> list[Recorded]:
        """The events of one command."""
        return [event for event in self.events if event.command_id == command_id]


class Follower(ABC):
    """Follows over as many watches as it takes, each from where the last one broke.

    Args:
        record: What there is to see.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.name = ""
        self.over = False
        """There is nothing more to come: it has seen the end, or was told that nothing is left."""
        self.signs_of_life = 0
        self._appetite = 0.0
        self._hunger = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @property
    def is_following(self) -> bool:
        """Whether it has a watch open."""
        return self._task is not None

    @property
    def is_greedy(self) -> bool:
        """Whether it takes whatever comes at once."""
        return self._appetite == math.inf

    def feed(self, appetite: float) -> None:
        """Let it take so many updates more; it holds the watch up when it has had them."""
        self._appetite += appetite
        self._hunger.set()

    def open(self, loop: asyncio.AbstractEventLoop, commands: Commands) -> None:
        """Watch from where it is."""
        self._task = loop.create_task(self._follow(commands))

    def drop(self) -> None:
        """Lose the connection, wherever the watch is by now."""
        if self._task is not None:
            self._task.cancel()

    def look(self) -> str:
        """How the watch has ended, if it just has; raises whatever was wrong about it."""
        if self._task is None or not self._task.done():
            return ""
        task, self._task = self._task, None
        if task.cancelled():
            return "dropped"
        try:
            task.result()
        except DockgateError as refused:
            if refused.reason is not Reason.UNAVAILABLE or not self.record.closing:
                self._refused(refused)
            return f"told {refused.reason}"
        self._ended()
        return "told all"

    async def _follow(self, commands: Commands) -> None:
        async with contextlib.aclosing(self._watch(commands)) as updates:
            async for update in updates:
                self._take(update)
                self._appetite -= 1
                while self._appetite < 0:
                    self._hunger.clear()
                    await self._hunger.wait()

    def _check(self, event: CommandEvent) -> None:
        """An event is shown as it was committed."""
        command, found = event.command, self.record.events[event.seq - 1]
        assert (found.seq, found.command_id) == (event.seq, command.id)
        assert (found.revision, found.kind) == (event.revision, event.kind)
        assert orjson.loads(found.state)["status"] == command.status

    @abstractmethod
    def missing(self) -> Iterable[Recorded]:
        """What it should have seen by now and has not."""

    @abstractmethod
    def _watch(self, commands: Commands) -> AsyncGenerator[Any, None]: ...

    @abstractmethod
    def _take(self, update: Any) -> None: ...

    @abstractmethod
    def _ended(self) -> None: ...

    @abstractmethod
    def _refused(self, refused: DockgateError) -> None: ...


class OfCommand(Follower):
    """Follows one command."""

    def __init__(
        self, record: Record, caller: Caller, command_id: str, *, follow_job: bool
    ) -> None:
        super().__init__(record)
        self._caller = caller
        self.command_id = command_id
        self._follow_job = follow_job
        self._seen = 0

    def missing(self) -> Iterable[Recorded]:
        """All revisions up to the end."""
        life = self.record.life(self.command_id)
        lasts = (event.revision for event in life if event.is_last(self._follow_job))
        return life[self._seen : next(lasts, None)]

    def _watch(self, commands: Commands) -> AsyncGenerator[CommandEvent | None, None]:
        request = pb.WatchCommandRequest(
            command_id=self.command_id, after_revision=self._seen, follow_job=self._follow_job
        )
        return commands.watch(self._caller, request)  # type: ignore[return-value]

    def _take(self, update: CommandEvent | None) -> None:
        if update is None:
            self.signs_of_life += 1
            return
        self._check(update)
        due = next(iter(self.missing()), None)
        if due is None:
            # Removed just as the watch was resumed; what it was is known to nobody any more.
            assert self.command_id in self.record.removed, f"{update.revision} is behind the end"
            return
        assert update.revision == due.revision == self._seen + 1
        self._seen += 1

    def _ended(self) -> None:
        life = self.record.life(self.command_id)
        assert life[self._seen - 1].is_last(self._follow_job), "it ended before the end"
        self.over = True

    def _refused(self, refused: DockgateError) -> None:
        assert refused.reason is Reason.COMMAND_NOT_FOUND, refused
        assert self.command_id in self.record.removed
        self.over = True


class OfAll(Follower):
    """Follows all commands of a tenant that pass its filter.

    Args:
        past: An event that is certainly over when it begins.
    """

    def __init__(
        self, record: Record, caller: Caller, device_id: str, command_type: str, past: int
    ) -> None:
        super().__init__(record)
        self._caller = caller
        self._filter = {"device_id": device_id, "command_type": command_type}
        self._past = past
        self._token = ""
        self._position: int | None = None

    def missing(self) -> Iterable[Recorded]:
        """Every event behind its position that it is to see."""
        return self._between(self._position, None)

    def _between(self, after: int | None, until: int | None) -> list[Recorded]:
        return [
            event
            for event in self.record.events[after:until]
            if after is not None
            and event.tenant == self._caller.tenant
            and self._filter["device_id"] in ("", event.device_id)
            and self._filter["command_type"] in ("", event.command_type)
        ]

    def _watch(self, commands: Commands) -> AsyncGenerator[FleetUpdate, None]:
        request = pb.WatchCommandsRequest(resume_token=self._token, **self._filter)
        return commands.watch_all(self._caller, request)  # type: ignore[return-value]

    def _take(self, update: FleetUpdate) -> None:
        position = cursor.read(cursor.RESUME, update.resume_token, "resume_token")
        if self._position is None:
            assert update.event is None, "it begins with a sign of life"
            assert self._past <= position <= self.record.newest, "it begins now"
        else:
            passed = self._between(self._position, position)
            if update.event is None:
                assert passed == []
                assert position >= self._position
            else:
                assert [event.seq for event in passed] == [update.event.seq] == [position]
                self._check(update.event)
        self.signs_of_life += update.event is None
        self._position, self._token = position, update.resume_token

    def _ended(self) -> None:
        raise AssertionError("a watch of all has no end")

    def _refused(self, refused: DockgateError) -> None:
        assert refused.reason is Reason.CURSOR_EXPIRED, refused
        assert self._position is not None
        assert self._position < self.record.removed_up_to
        self._position, self._token = None, ""
