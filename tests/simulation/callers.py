"""Callers: they submit, repeat what was not answered, cancel, and watch across reconnects."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import cursor
from dockgate_server.commands import Commands
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL
from dockgate_server.model.command import FailureCode
from dockgate_server.model.transitions import Accepted
from simulation.gateway import Call, Gateway
from simulation.life import Life
from simulation.record import Record
from simulation.world import World

_MOST_ATTEMPTS = 6
_PATIENCE_SECONDS = 2.5
_PROMPT_SECONDS = 0.5
"""How late a watch may hear of something, unless it or the store is slow."""

_POLICIES = (
    command_pb2.OFFLINE_POLICY_UNSPECIFIED,
    command_pb2.OFFLINE_POLICY_UNSPECIFIED,
    command_pb2.OFFLINE_POLICY_FAIL_FAST,
    command_pb2.OFFLINE_POLICY_QUEUE,
)


def _bare(name: str) -> Callable[[pb.SubmitCommandRequest], None]:
    def fill(request: pb.SubmitCommandRequest) -> None:
        getattr(request.dji, name).SetInParent()

    return fill


def _height(request: pb.SubmitCommandRequest) -> None:
    request.dji.height_limit.height_limit = 100


def _lens(request: pb.SubmitCommandRequest) -> None:
    # The message has no number: by this its command is known to the simulation.
    request.dji.drc_live_lens_change.video_type = request.idempotency_key


def _flight(request: pb.SubmitCommandRequest) -> None:
    request.dji.flighttask_execute.flight_id = request.idempotency_key


def _beat(request: pb.SubmitCommandRequest) -> None:
    request.dji.heart_beat.timestamp = 1


METHODS: tuple[tuple[int, Callable[[pb.SubmitCommandRequest], None]], ...] = (
    (5, _bare("flight_setup_abort")),  # not safe to repeat, no job
    (4, _bare("cover_open")),  # waits for its dock, has a job
    (3, _bare("charge_open")),  # safe to repeat, has a job
    (2, _bare("charge_close")),  # undoes the one above
    (3, _bare("supplement_light_open")),  # safe to repeat
    (2, _bare("return_home")),  # overtakes
    (1, _bare("drone_emergency_stop")),  # overtakes, by DRC
    (3, _bare("drc_camera_photo_stop")),  # DRC with a sequence number
    (3, _lens),  # DRC without one
    (2, _height),  # a property
    (2, _flight),  # its job has a key of its own
)
"""What is submitted, each with its weight."""

_ONE_OF_EACH = (_bare("cover_open"), _bare("return_home"), _lens)

_CHOICES = [fill for weight, fill in METHODS for _ in range(weight)]


class Callers:
    """All who submit, and what they were told.

    Args:
        world: Time and chance.
        gateway: Whom they call.
        record: What is committed.
        devices: What they command.
    """

    def __init__(self, world: World, gateway: Gateway, record: Record, devices: list[str]) -> None:
        self.world = world
        self.gateway = gateway
        self.record = record
        self.accepted: dict[str, str] = {}
        """By key, the id that was answered."""
        self.refused: dict[str, bool] = {}
        """By key, whether every call so far was refused with UNAVAILABLE."""
        self.watches: list[Watch] = []
        self._devices = devices
        self._submitted = 0

    def submit(self) -> None:
        """Somebody wants something done."""
        self._submitted += 1
        world, rng = self.world, self.world.rng
        request = pb.SubmitCommandRequest(
            device_id=rng.choice(self._devices),
            idempotency_key=f"k{self._submitted}",
            timeout_seconds=rng.choice((1, 2, 5, 10, 10, 20, 40)),
            offline_policy=rng.choice(_POLICIES),
        )
        fill = rng.choice(_CHOICES)
        if world.random() < 0.03 * world.intensity("control stream"):
            fill = _beat
            request.offline_policy = command_pb2.OFFLINE_POLICY_UNSPECIFIED
        fill(request)
        Submission(self, request).attempt()

    def submit_to_all(self) -> list[str]:
        """Somebody wants to know whether everything works again; the keys of the commands."""
        self._keys = []
        for device in self._devices:
            for fill in _ONE_OF_EACH:
                key = f"last-{device}-{len(self._keys)}"
                request = pb.SubmitCommandRequest(
                    device_id=device, idempotency_key=key, timeout_seconds=20
                )
                fill(request)
                Submission(self, request).attempt()
                self._keys.append(key)
        return self._keys

    def told(self, key: str, answer: Any) -> None:
        """What a submission was answered, held against what was answered before."""
        violate = self.world.violate
        if isinstance(answer, Accepted):
            command = answer.command
            if self.accepted.setdefault(key, command.id) != command.id:
                violate(f"{key} is command {command.id}, and was {self.accepted[key]}")
            life = self.record.by_id.get(command.id)
            if life is None or life.key != key:
                violate(f"{key} was accepted and is not recorded")
            elif (command.status, command.revision) != ("ACCEPTED", 1):
                violate(f"{life} was accepted as {command.status}, revision {command.revision}")
            return
        unavailable = isinstance(answer, DockgateError) and answer.reason is Reason.UNAVAILABLE
        self.refused[key] = self.refused.get(key, True) and unavailable
        if not unavailable and not isinstance(answer, ConnectionError | TimeoutError):
            violate(f"the submission {key} was answered {answer!r}")


class Submission:
    """One who wants a command accepted, and follows it."""

    def __init__(self, callers: Callers, request: pb.SubmitCommandRequest) -> None:
        self._callers = callers
        self._world = callers.world
        self._request = request
        self._attempts = 0
        self._is_followed = False

    def attempt(self) -> None:
        """Call, perhaps again: the same key gives the same command."""
        self._attempts += 1
        request = self._request

        def ask(commands: Commands) -> Any:
            return commands.submit(LOCAL, request)

        patience = _PATIENCE_SECONDS
        if self._world.strikes("impatient caller", 0.01):
            patience = 0.003 * self._world.random()
        Call(self._callers.gateway, ask, self._answered, patience)

    def _answered(self, answer: Any) -> None:
        world, key = self._world, self._request.idempotency_key
        world.note("caller", f"{key}: {type(answer).__name__}")
        self._callers.told(key, answer)
        if isinstance(answer, Accepted):
            if not self._is_followed:
                self._is_followed = True
                self._follow(answer.command.id)
            if world.strikes("submitted again", 0.03):
                world.after(world.between(0, 5), self.attempt)
            if world.strikes("key used for something else", 0.01):
                self._use_key_otherwise()
        elif self._attempts < _MOST_ATTEMPTS and world.random() < 0.9:
            world.after(world.between(0.05, 1.5), self.attempt)

    def _use_key_otherwise(self) -> None:
        request = pb.SubmitCommandRequest()
        request.CopyFrom(self._request)
        request.timeout_seconds += 1

        def answered(answer: Any) -> None:
            conflict = (Reason.IDEMPOTENCY_CONFLICT, Reason.UNAVAILABLE)
            refused = isinstance(answer, DockgateError) and answer.reason in conflict
            if not refused and not isinstance(answer, ConnectionError | TimeoutError):
                self._world.violate(f"{request.idempotency_key} with other content: {answer!r}")

        def ask(commands: Commands) -> Any:
            return commands.submit(LOCAL, request)

        Call(self._callers.gateway, ask, answered, _PATIENCE_SECONDS)

    def _follow(self, command_id: str) -> None:
        world, callers = self._world, self._callers
        if world.random() < 0.15:
            watch = Watch(callers, command_id, follow_job=world.random() < 0.3)
            callers.watches.append(watch)
            watch.open()
        if world.strikes("cancel", 0.12):
            for _ in range(world.rng.choice((1, 1, 2))):
                seconds = world.between(0, 0.01) if world.random() < 0.5 else world.between(0, 6)
                world.after(seconds, self._cancel, command_id)

    def _cancel(self, command_id: str) -> None:
        request = pb.CancelCommandRequest(command_id=command_id)
        was_cancelled = self._is_cancelled(command_id)

        def ask(commands: Commands) -> Any:
            return commands.cancel(LOCAL, request)

        def answered(answer: Any) -> None:
            self._cancelled(command_id, answer, was_cancelled)

        Call(self._callers.gateway, ask, answered, _PATIENCE_SECONDS)

    def _is_cancelled(self, command_id: str) -> bool:
        state = self._callers.record.by_id[command_id].state
        return bool(state.get("failure_code") == FailureCode.CANCELLED)

    def _cancelled(self, command_id: str, answer: Any, was_cancelled: bool) -> None:
        world, life = self._world, self._callers.record.by_id[command_id]
        world.note("caller", f"cancel of {life}: {answer!r:.80}")
        if isinstance(answer, DockgateError):
            if answer.reason is Reason.COMMAND_NOT_CANCELLABLE:
                if was_cancelled:
                    world.violate(f"{life} was cancelled, and the caller was told the contrary")
            elif answer.reason is not Reason.UNAVAILABLE:
                world.violate(f"the cancelling of {life} was answered {answer!r}")
        elif isinstance(answer, ConnectionError | TimeoutError):
            pass
        elif isinstance(answer, BaseException):
            world.violate(f"the cancelling of {life} was answered {answer!r}")
        elif not self._is_cancelled(command_id):
            world.violate(f"{life} was not cancelled, and the caller was told so")


class Watch:
    """One who follows a command to its end, over as many connections as it takes.

    Args:
        callers: To whom it belongs.
        command_id: What is watched; None for all commands.
        follow_job: Also follow the job.
    """

    def __init__(self, callers: Callers, command_id: str | None, *, follow_job: bool) -> None:
        self._callers = callers
        self._world = callers.world
        self._command_id = command_id
        self._follow_job = follow_job
        self._seen = 0
        """Revisions, or for all commands events."""
        self._connection = 0
        self._token = ""
        self._idle_since = 0.0
        """Since when it takes whatever comes."""
        self.is_over = False

    def open(self) -> None:
        """Begin, or go on where it broke off."""
        if self.is_over:
            return
        self._connection += 1
        connection = self._connection
        self._idle_since = self._world.now
        # Now and then a client goes away and comes back.
        patience = 10_000.0
        if self._world.strikes("watch left", 0.2):
            patience = self._world.between(0.01, 5.0)

        def ask(commands: Commands) -> Any:
            return self._stream(commands, connection)

        def ended(answer: Any) -> None:
            self._ended(connection, answer)

        Call(self._callers.gateway, ask, ended, patience)

    def check(self) -> None:
        """The history is over: everything has been seen."""
        if self._command_id is None:
            if self._seen != self._callers.record.newest_event:
                self._world.violate(f"the watch of all has seen {self._seen} events")
        elif not self.is_over and not self._follow_job:
            life = self._callers.record.by_id[self._command_id]
            self._world.violate(f"a watch of {life} has not ended")

    async def _stream(self, commands: Commands, connection: int) -> None:
        """What the server does for the call: hand on what the use case yields."""
        if self._command_id is None:
            fleet = pb.WatchCommandsRequest(resume_token=self._token)
            async with aclosing(commands.watch_all(LOCAL, fleet)) as updates:
                async for update in updates:
                    if self._connection == connection:
                        self._all_got(update)
                        await self._dawdle(0.003)
            return
        request = pb.WatchCommandRequest(
            command_id=self._command_id,
            after_revision=self._seen,
            follow_job=self._follow_job,
        )
        async with aclosing(commands.watch(LOCAL, request)) as events:
            async for event in events:
                if event is not None and self._connection == connection:
                    self._got(event)
                    await self._dawdle(0.05)

    async def _dawdle(self, probability: float) -> None:
        if self._world.strikes("slow watcher", probability):
            await asyncio.sleep(self._world.between(0.1, 3.0))
            self._idle_since = self._world.now

    def _got(self, event: Any) -> None:
        life = self._callers.record.by_id[self._command_id or ""]
        self._seen += 1
        if event.revision != self._seen:
            self._world.violate(f"{life}: a watch got revision {event.revision} as {self._seen}.")
        elif life.events[event.revision - 1] != (event.seq, event.kind):
            self._world.violate(f"{life}: a watch got what is not recorded: {event}")
        elif event.revision == len(life.events):
            self._check_in_time(life)

    def _all_got(self, update: Any) -> None:
        self._token = update.resume_token
        if update.event is None:
            if not self._seen:
                self._seen = cursor.read(cursor.RESUME, self._token, "resume_token")
            return
        self._seen += 1
        if update.event.seq != self._seen:
            self._world.violate(f"the watch of all got event {update.event.seq} as {self._seen}.")
        elif self._seen == self._callers.record.newest_event:
            self._check_in_time(self._callers.record.by_id[update.event.command.id])

    def _check_in_time(self, life: Life) -> None:
        """Whether the newest event came as soon as it could."""
        since = max(life.changed_at, self._idle_since)
        late = self._world.now - since
        if late > _PROMPT_SECONDS and not self._callers.record.disk.has_failed_since(since):
            self._world.violate(f"{life}: a watch got its last event {late:.3f} s late")

    def _ended(self, connection: int, answer: Any) -> None:
        if connection != self._connection:
            return
        self._connection += 1  # what is still on its way is lost
        if answer is None:
            self.is_over = True
            life = self._callers.record.by_id[self._command_id or ""]
            if self._seen < life.ended_at_revision or not life.is_over:
                self._world.violate(f"a watch of {life} ended at revision {self._seen}")
            return
        if isinstance(answer, DockgateError) and answer.reason is not Reason.UNAVAILABLE:
            self._world.violate(f"a watch was answered {answer!r}")
        self._world.after(self._world.between(0.1, 2.0), self.open)
