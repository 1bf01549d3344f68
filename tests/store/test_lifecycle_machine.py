"""Whatever happens to commands, in whatever order: store and model of the lifecycle agree.

The machine asks the store for every change there is, alone or many in one commit, takes its
permission to write away, closes and opens it, and removes what is old. After each step the record
is what the model says, to the last column.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args
from unittest import mock

import orjson
import pytest
from hypothesis import event as count
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from support.lifecycle_model import WITHOUT_NUMBER, Answer, Impossible, Lives
from support.records import NOW, a_job, an_accept
from support.turns import Disk, TurnLoop

from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.command import (
    Channel,
    Command,
    CommandEvent,
    CommandFilter,
    FailureCode,
    JobState,
    OfflinePolicy,
    Status,
)
from dockgate_server.model.device import Topology
from dockgate_server.model.lifecycle import is_legal
from dockgate_server.model.reply import Reply
from dockgate_server.model.transitions import (
    Accept,
    Accepted,
    BeginSending,
    Cancel,
    CompleteSend,
    ConfirmDelivery,
    Expire,
    RecordJob,
    RecordReply,
    Refuse,
    StallJob,
    TakeBack,
    Transition,
)
from dockgate_server.store.sqlite import SqliteStore, changes, opening

T = TypeVar("T")

NOTED, KEPT = 3, 5
"""How many replies are noted on a command, and kept in the ledger: few, so that there are more."""

TENANTS = ("default", "other")
GATEWAYS = ("dock-001", "dock-002")  # the second one is a device of the other tenant

METHODS = {
    "flight_setup_abort": Channel.SERVICES,
    "charge_open": Channel.SERVICES,
    "height_limit": Channel.PROPERTY_SET,
    "drc_camera_aim": Channel.DRC,
    WITHOUT_NUMBER: Channel.DRC,
}

ANSWERS: list[tuple[object, Answer | None]] = [
    ({"result": 0}, Answer("0")),
    ({"code": "0", "msg": "done"}, Answer("0", "done")),
    ({"result": 0, "output": {"status": "sent"}}, Answer("0", job=JobState.SENT)),
    (
        {"result": 0, "output": {"status": "ok", "progress": {"percent": 100}}},
        Answer("0", job=JobState.OK, percent=100),
    ),
    (
        {"result": 5001, "message": "camera busy"},
        Answer("5001", "camera busy", failure="camera busy"),
    ),
    (
        {"result": "7", "code": "E7", "output": {"status": "failed"}},
        Answer(
            "E7",
            failure="the device answered with result 7",
            job=JobState.FAILED,
            result=7,
        ),
    ),
    ({"result": "odd"}, None),
    ({}, None),
    ([], None),
    (None, None),
]
"""What devices say on services and DRC, and what it means; None where it means nothing."""

SET_ANSWERS: list[tuple[object, Answer | None]] = [
    ({"height_limit": {"result": 0}}, Answer("0")),
    ({"result": 0}, Answer("0")),
    (
        {"height_limit": {"result": 1}},
        Answer(
            "1", "not set: height_limit: 1 (failed)", failure="not set: height_limit: 1 (failed)"
        ),
    ),
    ({"height_limit": {"result": "?"}}, None),
    ({"distance_limit": {"result": 0}}, None),
    ("", None),
]
"""The same for the property that is set."""


THEMES = [tuple(METHODS), *((method,) for method in METHODS), ("drc_camera_aim", "charge_open")]
"""Which methods there are in a run: fewer of them meet more often."""

WHATS: dict[str, Callable[[str, int], Transition]] = {
    "begin": lambda command, at: BeginSending((command,), at),
    "take back": lambda command, at: TakeBack((command,), "nobody listened", at),
    "confirm": ConfirmDelivery,
    "cancel": Cancel,
    "send": CompleteSend,
    "refuse": lambda command, at: Refuse(command, FailureCode.DEVICE_OFFLINE, "it is away", at),
    "expire": lambda command, at: Expire((command,), at),
}
"""What happens without the device."""

SEVERAL_WHATS = st.lists(st.sampled_from(["begin", "confirm", *WHATS]), min_size=1, max_size=5)

JOB_GOES_ON = (JobState.SENT, JobState.IN_PROGRESS, JobState.PAUSED)

SUBMISSION = {
    "method": st.runner().flatmap(lambda machine: st.sampled_from(machine.methods)),
    "tenant": st.sampled_from(TENANTS),
    "gateway": st.sampled_from(GATEWAYS),
    "job": st.sampled_from([None, "own", "flight-1"]),
    "policy": st.sampled_from(OfflinePolicy),
    "so_far": st.sampled_from([[], ["begin"], ["begin", "confirm"], ["begin", "confirm"]]),
}
"""What new commands may be like."""

ODDITIES = st.sampled_from(
    [
        *(("gateway_id", gateway) for gateway in GATEWAYS),
        *(("method", method) for method in (None, "charge_open", "drc_camera_aim")),
        *(("channel", channel) for channel in Channel),
        *(("seq", number) for number in (None, None, 1_000_000)),
    ]
)
"""What may be odd about a reply; for some commands it is just as it should be."""


class Lifecycle(RuleBasedStateMachine):
    """Asks the store and the model for the same."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self._cleanup = contextlib.ExitStack()
        folder = self._cleanup.enter_context(tempfile.TemporaryDirectory())
        self._database = Path(folder) / "dockgate.db"
        for name, value in (("NOTED_REPLIES", NOTED), ("LEDGER_LIMIT", KEPT)):
            self._cleanup.enter_context(mock.patch.object(changes, name, value))
        self._cleanup.enter_context(mock.patch.object(opening, "connect", Disk().connect))
        self._loop = self._cleanup.enter_context(contextlib.closing(TurnLoop()))
        self.lives = Lives(NOTED)
        self._told: list[CommandEvent] = []
        self._checked: list[CommandEvent] = []
        self._ends: dict[str, tuple[object, ...]] = {}
        self._asked: list[tuple[Accept | Transition, object]] = []
        self._group = 1
        self._made = 0
        self._clock = NOW
        self._open()
        self._run(
            self.store.devices.save_topology, "other", Topology(GATEWAYS[1], "3-2-0", (), NOW)
        )

    def teardown(self) -> None:
        """The record is still the same when it has been closed and opened once more."""
        with self._cleanup:
            try:
                self.close_and_open()
            finally:
                self._run(self.store.__aexit__, None, None, None)

    # Changes.

    @initialize(
        target=ids,
        methods=st.sampled_from(THEMES),
        size=st.integers(1, 5),
        tenant=st.sampled_from(TENANTS),
        gateway=st.sampled_from(GATEWAYS),
        job=st.sampled_from([None, "own", "flight-1"]),
    )
    def begin(
        self, methods: tuple[str, ...], size: int, tenant: str, gateway: str, job: str | None
    ) -> str:
        """Without a command, nothing else can happen."""
        self.methods = methods
        self._group = size
        return self.submit(methods[0], tenant, gateway, job, OfflinePolicy.QUEUE, ["begin"])

    @rule(target=ids, **SUBMISSION)
    def submit(
        self,
        method: str,
        tenant: str,
        gateway: str,
        job: str | None,
        policy: OfflinePolicy,
        so_far: list[str],
    ) -> str:
        """A new command, which may go out at once."""
        self._made += 1
        command_id, at = f"command-{self._made}", self._now()
        new = an_accept(
            id=command_id,
            idempotency_key=command_id,
            content_hash=command_id.encode(),
            tenant=tenant,
            gateway_id=gateway,
            channel=METHODS[method],
            command_type=method,
            data=b'{"height_limit":100}' if method == "height_limit" else b"null",
            accepted_at=at,
            deadline_at=at + 30_000,
            job_key=command_id if job == "own" else job,
            offline_policy=policy,
            sending=so_far[:1] == ["begin"],
        )
        self._accept(new)
        self.happen(command_id, so_far[1:])
        return command_id

    @rule(target=ids, key=ids, tenant=st.sampled_from(TENANTS), sending=st.booleans())
    def submit_with_the_key_of(self, key: str, tenant: str, sending: bool) -> Any:
        """A repetition, a conflict, or the same key of somebody else, whose command is new."""
        self._made += 1
        at, command_id = self._now(), f"command-{self._made}"
        times = {"accepted_at": at, "deadline_at": at + 30_000}
        known = (tenant, key) in self.lives.first
        self._accept(an_accept(key, id=command_id, tenant=tenant, sending=sending, **times))
        return multiple() if known else command_id

    @rule(command=ids, whats=SEVERAL_WHATS)
    def happen(self, command: str, whats: list[str]) -> None:
        """The gateway, the broker or the caller decides something about one command."""
        for what in whats:
            self._ask(WHATS[what](command, self._now()))

    @rule(
        ids=st.lists(ids, min_size=2, max_size=4),
        change=st.sampled_from([BeginSending, TakeBack, Expire]),
    )
    def happen_to_many(self, ids: list[str], change: type[Transition]) -> None:
        """A group is sent, none of it reached anybody, or their deadlines pass together."""
        reason = ["nobody listened"] * (change is TakeBack)
        self._ask(change(tuple(ids), *reason, self._now()))  # type: ignore[arg-type]

    @rule(command=ids, whiches=st.lists(st.integers(0, 9), min_size=1, max_size=3))
    def answer(self, command: str, whiches: list[int]) -> None:
        """The device that has the command answers as it should, whatever it says, also again."""
        for which in whiches:
            self._hear(command, which)

    @rule(command=ids, which=st.integers(0, 9), odd=st.lists(ODDITIES, min_size=1, max_size=2))
    def answer_oddly(self, command: str, which: int, odd: list[tuple[str, Any]]) -> None:
        """Something about the reply is not as it should be."""
        self._hear(command, which, **dict(odd))

    @rule(
        command=ids,
        states=st.lists(st.sampled_from([*JOB_GOES_ON, *JobState]), min_size=1, max_size=4),
        percent=st.one_of(st.none(), st.integers(0, 100)),
    )
    def report(self, command: str, states: list[JobState], percent: int | None) -> None:
        """The device reports on the command's job, which may be that of others as well."""
        about = self.lives.commands.get(command)
        if about is not None and about.job_key is not None:
            methods = (about.command_type, "flight_setup_abort")
            for state in states:
                self._report(about.gateway_id, methods, about.job_key, state, percent)

    @rule(
        gateway=st.sampled_from(GATEWAYS),
        methods=st.lists(st.sampled_from(sorted(METHODS)), max_size=2, unique=True).map(tuple),
        key=st.sampled_from(["flight-1", "flight-2"]),
        state=st.sampled_from(JobState),
    )
    def report_oddly(
        self, gateway: str, methods: tuple[str, ...], key: str, state: JobState
    ) -> None:
        """A report that may fit nothing."""
        self._report(gateway, methods, key, state, None)

    @rule(command=ids, heard=st.sampled_from(["at last", "at last", "before", "never"]))
    def stall(self, command: str, heard: str) -> None:
        """The device has not reported the job for long, or has meanwhile."""
        about = self.lives.commands.get(command)
        last = about.job if about else None
        before = replace(last or a_job(), updated_at=NOW - 1)
        said = {"at last": last, "before": before, "never": None}[heard]
        self._ask(StallJob(command, said, self._now()))

    # What else can happen to a store.

    @rule(
        size=st.integers(1, 5),
        can_write=st.sampled_from([True, True, True, False]),
        seconds=st.integers(-50, 50),
    )
    def go_on_differently(self, size: int, can_write: bool, seconds: int) -> None:
        """So many changes fall into one commit; a disk is full for a while; the clock steps."""
        self._settle()
        self._group = size
        pragma = f"PRAGMA query_only = {'OFF' if can_write else 'ON'}"
        writing = self.store._writer._connection
        self._run(writing.run, lambda db: db.execute(pragma).fetchall())
        self._can_write = can_write
        self._clock += seconds * 1000

    @rule()
    def close_and_open(self) -> None:
        """What was asked before is done before it is closed."""
        self._take_answers(self._run(self._answers, closing=True))
        self._open()
        self.the_record_is_what_the_model_says()
        self._check_whole_record()

    @precondition(lambda self: self._can_write)
    @rule(seconds=st.integers(-20, 20))
    def remove_old(self, seconds: int) -> None:
        """Ended commands that were last touched before some time."""
        self._settle()
        self.the_record_is_what_the_model_says()
        cutoff = self._clock + seconds * 1000
        self.lives.remove_old(cutoff)
        after: int | None = 0
        while after is not None:
            after = self._run(self.store.remove_old, cutoff, self._clock, after).position

    @rule(
        tenant=st.sampled_from(TENANTS),
        method=st.sampled_from(["", "", "charge_open"]),
        device=st.sampled_from(["", "drone-001", "drone-002"]),
        statuses=st.sampled_from([(), (), (Status.ACCEPTED, Status.FAILED), (Status.DELIVERED,)]),
        size=st.integers(1, 3),
    )
    def look_through_pages(
        self, tenant: str, method: str, device: str, statuses: tuple[Status, ...], size: int
    ) -> None:
        """A list shows what is there, newest first, each once."""
        self._settle()
        which = CommandFilter(device, method, statuses)
        found: list[Command] = []
        before: int | None = None
        while True:
            page = self._run(self.store.list_commands, tenant, which, before, size)
            found += page.commands
            assert len(page.commands) <= size
            assert len(found) <= len(self.lives.commands)
            before = page.next_before
            if before is None:
                break
        assert [self._unnumbered(one) for one in found] == [
            one
            for one in reversed(self.lives.commands.values())
            if one.tenant == tenant
            and method in ("", one.command_type)
            and device in ("", one.device_id)
            and (not statuses or one.status in statuses)
        ]

    # What holds after each step.

    @invariant()
    def the_record_is_what_the_model_says(self) -> None:
        """Every column of every command, every event, every reply that fits nothing."""
        if self._asked:
            return  # nobody has been told anything yet
        self._check_events()
        self._check_commands()
        self._check_ledger()

    def _check_events(self) -> None:
        """What was told since the last look, and what can be read of it."""
        checked = len(self._checked)
        new = self.lives.events[checked:]
        for told, expected in zip(self._told, new, strict=True):
            self._check_event(told, expected)
            self._checked.append(told)
        assert self._run(self.store.events_of_all_commands, checked, 1000) == self._told
        self._told.clear()

    def _check_event(self, told: CommandEvent, expected: CommandEvent) -> None:
        command = self._unnumbered(told.command)
        assert told._replace(command=command, note="") == expected._replace(note="")
        assert not expected.note or told.note == expected.note
        assert told.occurred_at == command.updated_at
        before = next((e for e in reversed(self._checked) if e.command.id == command.id), None)
        # Beside the model: the table of the lifecycle, and what can be said of any two events.
        was = before and before.command
        assert is_legal(told.kind, was and was.status, command.status)
        if was is None:
            assert told.revision == 1
            return
        assert told.revision == was.revision + 1
        if was.status.is_end:
            assert _end(command) == _end(was)
        if was.job is not None and was.job.state.is_end:
            assert command.job == was.job
        if was.vendor_response is not None:
            assert command.vendor_response == was.vendor_response
            assert command.response_received_at == was.response_received_at

    def _check_commands(self) -> None:
        found: dict[str, Command] = {}
        for tenant in TENANTS:
            page = self._run(self.store.list_commands, tenant, CommandFilter(), None, 1000)
            assert page.next_before is None
            found |= {one.id: one for one in page.commands}
        assert {key: self._unnumbered(one) for key, one in found.items()} == self.lives.commands
        for command_id, ended in self._ends.items():
            assert command_id not in found or _end(found[command_id]) == ended
        self._ends = {key: _end(one) for key, one in found.items() if one.status.is_end}

    def _check_ledger(self) -> None:
        kept = self.lives.ledger[-KEPT:]
        for tenant, gateway in zip(TENANTS, GATEWAYS, strict=True):
            page = self._run(self.store.list_unmatched, tenant, "", None, 100)
            assert all(one.reason for one in page.replies)
            found = [one._replace(reason="") for one in reversed(page.replies)]
            assert found == [one for one in kept if one.gateway_id == gateway]
            assert page.recorded == len(self.lives.ledger)

    def _check_whole_record(self) -> None:
        """What is read one by one agrees with what is read in lists."""
        for command_id, expected in self.lives.commands.items():
            self._run(self._check_command, command_id, expected)
        assert self._run(self._read, self.store.open_commands) == self.lives.open()
        assert self._run(self._read, self.store.commands_with_open_jobs) == self.lives.open_jobs()
        sent: dict[tuple[str, str], int] = {}
        for one in self.lives.commands.values():
            # What ended as DEVICE_OFFLINE has reached nobody.
            if one.sending_at is not None and one.failure_code is not FailureCode.DEVICE_OFFLINE:
                sent[one.gateway_id, one.command_type] = self.lives.numbers[one.id]
        found = self._run(self.store.last_sent, 0)
        assert {(gateway, method): seq for gateway, method, seq in found} == sent
        assert self._run(self.store.newest_event_seq) == len(self.lives.events)
        for (tenant, key), first in self.lives.first.items():
            accepted = self._run(self.store.find_accepted, tenant, key)
            assert self._unaccepted(accepted) == first._replace(replayed=True)
        self._check_events_of_all()

    def _check_events_of_all(self) -> None:
        """They are whole behind the newest one that was removed, and not before."""
        removed = self.lives.removed_up_to
        read = self._run(self.store.events_of_all_commands, removed, 1000)
        assert read == [
            one for one in self._checked[removed:] if one.command.id in self.lives.commands
        ]
        if removed:
            with pytest.raises(DockgateError) as refused:
                self._run(self.store.events_of_all_commands, removed - 1, 1000)
            assert refused.value.reason is Reason.CURSOR_EXPIRED

    async def _check_command(self, command_id: str, expected: Command) -> None:
        found = await self.store.get_command(expected.tenant, command_id)
        assert found is not None
        assert self._unnumbered(found) == expected
        (stranger,) = set(TENANTS) - {expected.tenant}
        assert await self.store.get_command(stranger, command_id) is None
        assert await self.store.events_of_command(stranger, command_id, 0, 1) == []
        life: list[CommandEvent] = []
        while events := await self.store.events_of_command(
            expected.tenant, command_id, len(life), 2
        ):
            life += events
        assert life == [one for one in self._checked if one.command.id == command_id]
        assert [one.revision for one in life] == list(range(1, found.revision + 1))
        assert life[-1].command == found

    async def _read(self, read: Callable[[], AsyncIterator[Sequence[Command]]]) -> list[str]:
        return [one.id async for chunk in read() for one in chunk]

    # Asking.

    def _accept(self, new: Accept) -> None:
        expected = self.lives.accept(new) if self._can_write else None
        self._asked.append((new, expected))
        self._done_asking()

    def _hear(self, command_id: str, which: int, **odd: Any) -> None:
        """A reply to the command; as it should be, but for what is odd about it."""
        if any(isinstance(one, Accept) for one, _ in self._asked):
            self._settle()  # every command has its number then
        at = self._now()
        command = self.lives.commands.get(command_id)
        channel = command.channel if command else Channel.SERVICES
        said = SET_ANSWERS if channel is Channel.PROPERTY_SET else ANSWERS
        data, answer = said[which % len(said)]
        if isinstance(data, dict):
            data = {**data, "at": at}  # so that each reply is another one
        values = {
            "gateway_id": command.gateway_id if command else GATEWAYS[0],
            "tid": command_id,
            "method": command.command_type if command else None,
            "channel": channel,
            "seq": self.lives.numbers.get(command_id),
            **odd,
        }
        reply = Reply(data=data, raw_data=orjson.dumps(data), received_at=at, **values)
        left = (one.id for one in self.lives.commands.values() if one.sending_at is not None)
        self._ask(RecordReply(reply, tuple(left)), answer)

    def _report(
        self,
        gateway: str,
        methods: tuple[str, ...],
        key: str,
        state: JobState,
        percent: int | None,
    ) -> None:
        job = a_job(state, updated_at=self._now(), percent=percent, step="check_cover")
        self._ask(RecordJob(gateway, methods, key, job))

    def _ask(self, change: Transition, answer: Answer | None = None) -> None:
        if isinstance(change, TakeBack):
            self._settle()  # it would overtake what was asked before it
        expected: object = None
        if self._can_write:
            try:
                expected = self.lives.apply(change, answer)
            except Impossible as impossible:
                expected = impossible
        self._asked.append((change, expected))
        self._done_asking()

    def _done_asking(self) -> None:
        if len(self._asked) >= self._group:
            self._settle()

    def _settle(self) -> None:
        """Let what was asked be done, and look at the answers."""
        if self._asked:
            self._take_answers(self._run(self._answers))

    async def _answers(self, *, closing: bool = False) -> "list[asyncio.Future[Any]]":
        """Ask the store for all of it before it can begin: it falls into one commit."""
        answers: list[asyncio.Future[Any]] = [
            self.store.accept(one) if isinstance(one, Accept) else self.store.apply(one)
            for one, _ in self._asked
        ]
        if closing:
            await self.store.__aexit__(None, None, None)
        await asyncio.gather(*answers, return_exceptions=True)
        return answers

    def _take_answers(self, answers: "list[asyncio.Future[Any]]") -> None:
        for (asked, expected), answer in zip(self._asked, answers, strict=True):
            self._take_answer(type(asked).__name__, answer, expected)
        self._asked.clear()

    def _take_answer(self, name: str, asked: "asyncio.Future[Any]", expected: object) -> None:
        error = asked.exception()
        if isinstance(expected, Impossible):
            count(f"{name}: impossible")
            assert isinstance(error, Exception)
            assert "delivered_has_a_time" in str(error)
        elif not self._can_write:
            count(f"{name}: cannot write")
            # What changes nothing may be done by a store that cannot write.
            unavailable = isinstance(error, DockgateError) and error.reason is Reason.UNAVAILABLE
            assert unavailable or asked.result() == ()
        elif isinstance(expected, Accepted):
            answer = asked.result()
            count(f"{name}: {'replayed' if answer.replayed else 'new'}")
            if not answer.replayed:
                numbers = self.lives.numbers
                assert answer.command.seq > max(numbers.values(), default=0)
                numbers[answer.command.id] = answer.command.seq
            assert self._unaccepted(answer) == expected
        else:
            assert isinstance(expected, list)
            kinds = {event.kind.value for event in expected}
            count(f"{name}: {' '.join(sorted(kinds)) or 'nothing'}")
            for told, due in zip(asked.result(), expected, strict=True):
                unnumbered = told._replace(command=self._unnumbered(told.command), note="")
                assert unnumbered == due._replace(note="")

    def _unnumbered(self, command: Command) -> Command:
        """The command without its number, which is the one it got at acceptance."""
        assert command.seq == self.lives.numbers[command.id]
        return command._replace(seq=0)

    def _unaccepted(self, accepted: Accepted) -> Accepted:
        return accepted._replace(command=self._unnumbered(accepted.command))

    # The store and its loop.

    def _open(self) -> None:
        self._can_write = True
        self.store = SqliteStore(self._database, self._told.extend)
        self._run(self.store.__aenter__)

    def _now(self) -> int:
        self._clock += 1000
        return self._clock

    def _run(self, ask: Callable[..., Awaitable[T]], *arguments: Any, **options: Any) -> T:
        """Ask on the store's loop and wait for the answer."""

        async def asking() -> T:
            return await ask(*arguments, **options)

        return self._loop.run(asking())


def _end(command: Command) -> tuple[object, ...]:
    """What can never change again once the command has ended."""
    return (
        command.status,
        command.completed_at,
        command.completion_basis,
        command.failure_code,
        command.failure_reason,
        command.sending_at,
        command.delivered_at,
    )


# What hangs is noticed by the loop itself; `make machines` takes longer than a test may.
TestLifecycle = pytest.mark.timeout(0)(Lifecycle.TestCase)


def test_every_change_is_asked_for() -> None:
    """A new one must join the machine."""
    assert {change.__name__ for change in get_args(Transition)} <= set(globals())
