"""Watches that break anywhere and are resumed: nothing is missed, nothing comes twice.

The machine decides turn by turn what comes first: a commit, its news, a watcher's read, the end of
a connection, of the gateway, or of a command that is too old to be kept.
"""

import asyncio
import contextlib
import math
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import event as count
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.core import running
from support.followers import CHARGE, PHOTO, RECORDING, Follower, OfAll, OfCommand, Record
from support.records import NOW, a_job, a_reply, an_accept
from support.turns import Disk, TurnLoop

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import hub
from dockgate_server.codec import catalogue, cursor
from dockgate_server.commands import watching
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, ORDINARY, Caller
from dockgate_server.model.command import JobState
from dockgate_server.model.transitions import (
    BeginSending,
    ConfirmDelivery,
    Expire,
    RecordJob,
    RecordReply,
    Transition,
)
from dockgate_server.store.sqlite import opening

HEARTBEAT = 15.0

CALLERS = st.sampled_from([LOCAL, LOCAL, Caller("other", "tests", ORDINARY)])

WHATS = ["send", "deliver", "succeed", "start", "start", "fail", "odd", "expire"]
SEVERAL_WHATS = st.lists(st.sampled_from(WHATS), min_size=1, max_size=4)

PAUSES = st.lists(st.sampled_from([0, 1, 2, 5, 30]), min_size=1, max_size=5)

FOLLOWERS = st.runner().flatmap(lambda machine: st.sampled_from(machine.followers))

APPETITES = st.sampled_from([0, 1, 3, math.inf, math.inf])


class Watching(RuleBasedStateMachine):
    """A gateway that is played turn by turn, and those who follow what it does."""

    commands = Bundle("commands")

    def __init__(self) -> None:
        super().__init__()
        self._cleanup = contextlib.ExitStack()
        folder = self._cleanup.enter_context(tempfile.TemporaryDirectory())
        self._database = Path(folder) / "dockgate.db"
        self.loop = self._cleanup.enter_context(contextlib.closing(TurnLoop()))
        self.loop.set_exception_handler(self._note_trouble)
        self._trouble: list[str] = []
        self.record = Record()
        self.disk = Disk(self.record.note)
        self._patch(opening, "connect", self.disk.connect)
        self._clock = ManualClock()
        self.followers: list[Follower] = []
        self._callers: dict[str, Caller] = {}
        self._at = NOW

    @initialize(
        target=commands,
        tail=st.sampled_from([1, 4, 1000]),
        topic=st.sampled_from([1, 3, 1000]),
        page=st.sampled_from([1, 2, 200]),
        method=st.sampled_from([CHARGE, CHARGE, PHOTO, RECORDING]),
        appetite=APPETITES,
        pauses=PAUSES,
        whats=SEVERAL_WHATS,
    )
    def begin(
        self,
        tail: int,
        topic: int,
        page: int,
        method: str,
        appetite: float,
        pauses: list[int],
        whats: list[str],
    ) -> str:
        """A gateway with little memory, a command, and some who follow it."""
        self._patch(hub, "TAIL_EVENTS", tail)
        self._patch(hub, "TOPIC_EVENTS", topic)
        self._patch(watching, "_EVENTS_PER_READ", page)
        self._start()
        command = self.submit(method, "drone-001", LOCAL)
        self.follow_all(LOCAL, "", "", appetite)
        self.follow(command, appetite)
        self.disk.pause(*pauses)
        self.change(command, whats)
        return command

    def teardown(self) -> None:
        """Everybody comes back, and has seen everything in the end."""
        with self._cleanup:
            try:
                if self._callers:
                    self._end_well()
            finally:
                self._cancel_all()

    # What happens to commands.

    @rule(
        target=commands,
        method=st.sampled_from([CHARGE, CHARGE, PHOTO, RECORDING]),
        device=st.sampled_from(["drone-001", "dock-001"]),
        caller=CALLERS,
    )
    def submit(self, method: str, device: str, caller: Caller) -> str:
        """A new command, which the dispatcher sends."""
        command_id, at = f"command-{len(self._callers) + 1}", self._now()
        new = an_accept(
            id=command_id,
            idempotency_key=command_id,
            tenant=caller.tenant,
            device_id=device,
            command_type=method,
            job_key=None if method == RECORDING else command_id,
            accepted_at=at,
            deadline_at=at + 30_000,
        )
        self._callers[command_id] = caller
        self._ask(self.core.dispatcher.accept, new, catalogue.METHODS[method])
        return command_id

    @rule(command=commands, whats=SEVERAL_WHATS)
    def change(self, command: str, whats: list[str]) -> None:
        """The gateway, the broker or the device says something of the command."""
        for what in whats:
            at = self._now()
            said: dict[str, Transition] = {
                "send": BeginSending((command,), at),
                "deliver": ConfirmDelivery(command, at),
                "succeed": _reply(command, {"result": 0}, at),
                "start": _reply(command, {"result": 0, "output": {"status": "sent"}}, at),
                "fail": _reply(command, {"result": 5}, at),
                "odd": _reply(command, {"result": "?"}, at),
                "expire": Expire((command,), at),
            }
            self._ask(self.core.store.apply, said[what])

    @rule(
        command=commands,
        times=st.integers(1, 6),
        last=st.sampled_from([None, None, None, JobState.OK, JobState.FAILED]),
    )
    def report(self, command: str, times: int, last: JobState | None) -> None:
        """The device reports on the command's job, more than the hub keeps."""
        states = [JobState.IN_PROGRESS] * times + ([last] if last else [])
        for state in states:
            job = a_job(state, updated_at=self._now())
            report = RecordJob("dock-001", (CHARGE, PHOTO), command, job)
            self._ask(self.core.store.apply, report)

    @rule(share=st.integers(1, 4))
    def remove_old(self, share: int) -> None:
        """Ended commands go: all that have ended by now, or only the older ones of them."""
        self.settle()
        cutoff = NOW + (self._at - NOW) * share // 4 + 1
        self._ask(lambda: self.core.store.remove_old(cutoff, cutoff, 0))

    # What happens to those who follow.

    @rule(command=commands, appetite=APPETITES)
    def follow(self, command: str, appetite: float) -> None:
        """Two follow a command from its beginning, one of them to the end of its job."""
        if self._is_committed(command):
            caller = self._callers[command]
            for follow_job in (False, True):
                follower = OfCommand(self.record, caller, command, follow_job=follow_job)
                self._follow(follower, appetite)

    @rule(
        caller=CALLERS,
        device=st.sampled_from(["", "", "drone-001"]),
        method=st.sampled_from(["", "", CHARGE]),
        appetite=APPETITES,
    )
    def follow_all(self, caller: Caller, device: str, method: str, appetite: float) -> None:
        """All commands, from now on: behind whatever watchers have been told already."""
        follower = OfAll(self.record, caller, device, method, self.core.hub.newest_seq)
        self._follow(follower, appetite)

    @rule(follower=FOLLOWERS, appetite=APPETITES)
    def feed(self, follower: Follower, appetite: float) -> None:
        """A slow one takes some more."""
        follower.feed(appetite)

    @rule(follower=FOLLOWERS)
    def drop(self, follower: Follower) -> None:
        """The connection breaks, wherever the watch is."""
        follower.drop()

    @rule(follower=FOLLOWERS)
    def resume(self, follower: Follower) -> None:
        """It comes back; one that has seen the end gets nothing more."""
        if not follower.is_following:
            count(f"{type(follower).__name__} resumed{' at its end' * follower.over}")
            follower.open(self.loop, self.core.commands)

    @rule()
    def resume_all(self) -> None:
        """Whoever has lost the connection comes back."""
        for follower in self.followers:
            self.resume(follower)

    @rule(command=commands, by=st.integers(1, 3))
    def ask_for_the_future(self, command: str, by: int) -> None:
        """Cursors behind the newest event are refused, rather than waited for."""
        self.settle()
        if not self._is_committed(command):
            return
        newest = len(self.record.life(command))
        watch = pb.WatchCommandRequest(command_id=command, after_revision=newest + by)
        removed = command in self.record.removed
        because = Reason.COMMAND_NOT_FOUND if removed else Reason.CURSOR_OUT_OF_RANGE
        self._is_refused(self.core.commands.watch(self._callers[command], watch), because)
        token = cursor.write(cursor.RESUME, self.record.newest + by)
        of_all = pb.WatchCommandsRequest(resume_token=token)
        self._is_refused(self.core.commands.watch_all(LOCAL, of_all), Reason.CURSOR_OUT_OF_RANGE)

    # Time, and what happens to the gateway.

    @rule(turns=st.integers(1, 12), seconds=st.sampled_from([0, 0, 0, HEARTBEAT]))
    def turn(self, turns: int, seconds: float) -> None:
        """A little happens, perhaps late."""
        self.loop.now += seconds
        for _ in range(turns):
            self.loop.turn()

    def settle(self) -> None:
        """Everything happens that can; who takes what comes has seen all there is."""
        self.loop.settle()
        self._look()
        for follower in self.followers:
            if follower.is_following and follower.is_greedy and not self._is_removed(follower):
                assert list(follower.missing()) == []

    @rule()
    def let_time_pass(self) -> None:
        """Who hears of nothing gets a sign of life, or hears that nothing will come."""
        self.settle()
        heard = {follower: follower.signs_of_life for follower in self.followers}
        self.loop.now += HEARTBEAT
        self.settle()
        for follower, before in heard.items():
            if follower.is_following and follower.is_greedy:
                assert follower.signs_of_life > before
                assert not self._is_removed(follower)

    @rule(killed=st.booleans(), pauses=PAUSES)
    def restart(self, killed: bool, pauses: list[int]) -> None:
        """A new gateway on the same database; the old one stopped, or just is no more.

        What is asked of the database takes as long from now on as the pauses say.
        """
        self.disk.pause(*pauses)
        self.record.closing = True
        if killed:
            self.disk.dead = True
        else:
            self.core.hub.close()
            self.loop.settle()
            self._look()
            assert not any(one.is_following and one.is_greedy for one in self.followers)
        for follower in self.followers:
            follower.drop()
        self._stop()
        self._start()

    # What holds after each step.

    @invariant()
    def nobody_has_missed_anything(self) -> None:
        """Each update is looked at as it comes; here is said what was wrong."""
        self._look()

    def _look(self) -> None:
        assert self._trouble == [], self._trouble
        for follower in self.followers:
            if how := follower.look():
                count(f"{type(follower).__name__} {how}")

    def _end_well(self) -> None:
        self.disk.pause(0)
        for _ in range(2):  # who loses the connection at the very end gets nothing twice
            self.settle()
            self.resume_all()
            for follower in self.followers:
                follower.feed(math.inf)
            self.settle()
            self.resume_all()  # who was told that events have been removed begins anew
            self.let_time_pass()
            for follower in self.followers:
                assert follower.over or follower.is_following
                assert list(follower.missing()) == [] or self._is_removed(follower)
                follower.drop()
        self.settle()
        assert self.core.hub._topics == {}
        assert self.core.hub._fleet == set()
        self._stop()

    def _is_removed(self, follower: Follower) -> bool:
        """Whether it follows a command of which there may be nothing more to see."""
        return isinstance(follower, OfCommand) and follower.command_id in self.record.removed

    def _follow(self, follower: Follower, appetite: float) -> None:
        self.followers.append(follower)
        follower.name = f"{type(follower).__name__} {len(self.followers)}"
        follower.feed(appetite)
        follower.open(self.loop, self.core.commands)

    def _is_committed(self, command_id: str) -> bool:
        """Whether a submission has been answered; the gateway may have been killed before."""
        if not self.record.life(command_id):
            self.settle()
        return bool(self.record.life(command_id))

    def _is_refused(self, watch: Any, reason: Reason) -> None:
        with pytest.raises(DockgateError) as refused:
            self.loop.run(anext(watch))
        assert refused.value.reason is reason

    def _ask(self, ask: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Ask for something, whatever becomes of it."""

        async def asking() -> None:
            with contextlib.suppress(DockgateError, sqlite3.IntegrityError):
                await ask(*arguments)

        self.loop.create_task(asking())

    # The gateway.

    def _start(self) -> None:
        self.record.closing = self.disk.dead = False
        self._stopping = asyncio.Event()
        self._gateway = self.loop.create_task(self._serve())
        self.loop.settle()
        assert not self._gateway.done(), self._gateway

    async def _serve(self) -> None:
        async with running(self._database, ScriptedBridge(), self._clock, HEARTBEAT) as self.core:
            await self._stopping.wait()

    def _stop(self) -> None:
        self._stopping.set()
        self.loop.settle()
        self._look()
        self._cancel_all()  # what waits for an answer of one that was killed waits for ever
        # One whose disk is gone cannot stop well.
        with contextlib.suppress(*[sqlite3.OperationalError] if self.disk.dead else []):
            self._gateway.result()

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()

    def _now(self) -> int:
        self._at += 1000
        return self._at

    def _patch(self, where: Any, name: str, value: object) -> None:
        self._cleanup.enter_context(mock.patch.object(where, name, value))

    def _note_trouble(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._trouble.append(f"{context['message']}: {context.get('exception')!r}")


def _reply(command_id: str, data: object, at: int) -> RecordReply:
    return RecordReply(a_reply(command_id, data, received_at=at))


# What hangs is noticed by the loop itself; `make machines` takes longer than a test may.
TestWatching = pytest.mark.timeout(0)(Watching.TestCase)
