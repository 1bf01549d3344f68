"""The use cases: what can be asked about commands, the same for every transport.

Requests come as the messages of ``proto/dockgate/downlink/v1``: the rules beside their fields are
the rules for gRPC and HTTP alike.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from google.protobuf.message import Message

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, channels, cursor, dji_json
from dockgate_server.commands import requests
from dockgate_server.devices import Registry
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.hub import Hub
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.command import Command, CommandEvent, Vendor
from dockgate_server.model.transitions import Accept, Accepted
from dockgate_server.store.interface import Page, Store

_EVENTS_PER_READ = 200
_DEFAULT_PAGE = 50


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the configuration switches on; off by default."""

    raw_methods: bool = False
    control_streams: bool = False


@dataclass(frozen=True, slots=True)
class FleetUpdate:
    """A step of a fleet watch: an event, or None for a sign of life, and the token behind it."""

    event: CommandEvent | None
    resume_token: str


class Commands:
    """Submitting commands and following what becomes of them.

    Args:
        store: Where commands are read.
        dispatcher: Where new ones are accepted.
        hub: Wakes watchers.
        registry: Knows which devices there are.
        clock: The time.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        permissions: What is switched on beyond the ordinary.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        hub: Hub,
        registry: Registry,
        clock: Clock,
        *,
        heartbeat_seconds: float = 15.0,
        permissions: Permissions | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._hub = hub
        self._registry = registry
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self._permissions = permissions or Permissions()
        self._stopping = False

    def stop_accepting(self) -> None:
        """Refuse new commands from now on; what has been accepted goes on."""
        self._stopping = True

    async def submit(self, caller: Caller, request: pb.SubmitCommandRequest) -> Accepted:
        """Store a command durably; sending it goes on behind the answer.

        Raises:
            DockgateError: VALIDATION_FAILED, UNSUPPORTED_VENDOR, UNSUPPORTED_COMMAND,
                DEVICE_NOT_FOUND, IDEMPOTENCY_CONFLICT, UNAVAILABLE. Nothing was stored.
        """
        _need(caller, Scope.CREATE)
        method, message = requests.method_of(request)
        values = dji_json.to_data(message, method.spec.empty_data)
        content = requests.content_hash(request, method, values)
        try:
            data = orjson.dumps(values)
            accepted = await self._accept(caller, request, method, message, data, content)
        except DockgateError:
            # A repetition gets the first answer whatever rules, devices and the state of the
            # gateway say by now. Looking only here saves everybody else the read.
            known = await self._store.find_accepted(caller.tenant, request.idempotency_key)
            if known is None:
                raise
            accepted = known
        if accepted.content_hash != content:
            raise _conflict(request.idempotency_key, accepted.command.id)
        return accepted

    async def get(self, caller: Caller, request: pb.GetCommandRequest) -> Command:
        """The command as it is now.

        Raises:
            DockgateError: VALIDATION_FAILED, COMMAND_NOT_FOUND.
        """
        _need(caller, Scope.READ)
        requests.check(request)
        return await self._get(caller, request.command_id)

    async def list(self, caller: Caller, request: pb.ListCommandsRequest) -> tuple[Page, str]:
        """A page of commands, newest first, and the token of the next one ("" behind the last).

        Raises:
            DockgateError: VALIDATION_FAILED.
        """
        _need(caller, Scope.READ)
        requests.check(request)
        before = None
        if request.page_token:
            before = cursor.read(cursor.PAGE, request.page_token, "page_token")
        which = requests.filter_of(request)
        limit = request.page_size or _DEFAULT_PAGE
        page = await self._store.list_commands(caller.tenant, which, before, limit)
        more = page.next_before
        return page, "" if more is None else cursor.write(cursor.PAGE, more)

    async def watch(
        self, caller: Caller, request: pb.WatchCommandRequest
    ) -> AsyncIterator[CommandEvent | None]:
        """The command's events behind a revision, then each new one; None is a sign of life.

        Ends behind the event that ended the command, or its job where that is followed.

        Raises:
            DockgateError: VALIDATION_FAILED, COMMAND_NOT_FOUND, CURSOR_OUT_OF_RANGE;
                UNAVAILABLE when the gateway stops.
        """
        _need(caller, Scope.READ)
        requests.check(request)
        command_id, after = request.command_id, request.after_revision
        with self._hub.watch_command(command_id) as watcher:
            # Watching begins before reading, so that nothing falls between the two.
            command = await self._get(caller, command_id)
            if after > command.revision:
                raise _beyond(f"revision {command.revision}", {"newest": str(command.revision)})
            if await self._was_over(caller, command, after, request.follow_job):
                return
            while True:
                events = self._hub.events_of_command(command_id, after)
                if events is None:
                    events = await self._store.events_of_command(
                        caller.tenant, command_id, after, _EVENTS_PER_READ
                    )
                for event in events:
                    after = event.revision
                    yield event
                    if _is_over(event.command, request.follow_job):
                        return
                if not events:
                    if watcher.closed:
                        raise errors.unavailable(
                            f"the gateway is stopping; watch again behind revision {after}"
                        )
                    if not await watcher.wait(self._heartbeat_seconds):
                        yield None

    async def watch_all(
        self, caller: Caller, request: pb.WatchCommandsRequest
    ) -> AsyncIterator[FleetUpdate]:
        """The events of all the caller's commands from a token on, or from now.

        The first update is a sign of life, so that the caller has a token from the start.

        Raises:
            DockgateError: VALIDATION_FAILED, CURSOR_OUT_OF_RANGE; UNAVAILABLE when the gateway
                stops.
        """
        _need(caller, Scope.READ)
        requests.check(request)
        which = requests.filter_of(request)
        after = self._hub.newest_seq
        if request.resume_token:
            after = cursor.read(cursor.RESUME, request.resume_token, "resume_token")
            # A watcher may have read from the store what the hub is told a moment later.
            newest = self._hub.newest_seq
            if after > newest and after > await self._store.newest_event_seq():
                raise _beyond("event of this gateway", {})
        now = asyncio.get_running_loop().time
        with self._hub.watch_fleet() as watcher:
            yield FleetUpdate(None, cursor.write(cursor.RESUME, after))
            heard = now()  # events of others wake the watch, but its caller hears nothing then
            while True:
                events = self._hub.events_of_all_commands(after, _EVENTS_PER_READ)
                if events is None:
                    events = await self._store.events_of_all_commands(after, _EVENTS_PER_READ)
                for event in events:
                    after = event.seq
                    if event.command.tenant == caller.tenant and which.matches(event.command):
                        yield FleetUpdate(event, cursor.write(cursor.RESUME, after))
                        heard = now()
                if not events:
                    if watcher.closed:
                        raise errors.unavailable(
                            "the gateway is stopping; watch again with the last resume_token"
                        )
                    await watcher.wait(max(0.0, heard + self._heartbeat_seconds - now()))
                if now() >= heard + self._heartbeat_seconds:
                    yield FleetUpdate(None, cursor.write(cursor.RESUME, after))
                    heard = now()

    async def _get(self, caller: Caller, command_id: str) -> Command:
        command = await self._store.get_command(caller.tenant, command_id)
        if command is None:
            raise DockgateError(
                Reason.COMMAND_NOT_FOUND,
                f"no command {command_id!r} is known",
                metadata={"command_id": command_id},
            )
        return command

    async def _was_over(
        self, caller: Caller, command: Command, revision: int, follow_job: bool
    ) -> bool:
        """Whether the event of that revision, which the watcher has seen, was the last one.

        What is only recorded behind the end, such as a second reply, does not begin a new watch.
        """
        if not revision or not _is_over(command, follow_job):
            return False
        seen = await self._store.events_of_command(caller.tenant, command.id, revision - 1, 1)
        return bool(seen) and _is_over(seen[0].command, follow_job)

    def _check_permitted(
        self, caller: Caller, request: pb.SubmitCommandRequest, method: catalogue.Method
    ) -> None:
        if request.dji.HasField("raw_method"):
            if not self._permissions.raw_methods:
                raise _switched_off("raw methods", "commands.raw_methods")
            _need(caller, Scope.RAW)
        if method.spec.dangerous:
            _need(caller, Scope.DANGEROUS)
        if method.spec.control_stream and not self._permissions.control_streams:
            raise _switched_off("control streams", "commands.control_streams")

    async def _accept(
        self,
        caller: Caller,
        request: pb.SubmitCommandRequest,
        method: catalogue.Method,
        message: Message,
        data: bytes,
        content: bytes,
    ) -> Accepted:
        if violations := requests.violations(request, method, message, data):
            raise errors.validation_failed(violations)
        self._check_permitted(caller, request, method)
        if self._stopping:
            raise errors.unavailable("the gateway is stopping; nothing was accepted")
        device = self._registry.resolve(caller.tenant, request.device_id)
        command_id = str(uuid.uuid4())
        timeout = request.timeout_seconds or method.default_timeout_seconds
        now = self._clock.now_ms()
        new = Accept(
            id=command_id,
            tenant=caller.tenant,
            principal=caller.principal,
            idempotency_key=request.idempotency_key,
            content_hash=content,
            vendor=Vendor.DJI,
            device_id=request.device_id,
            gateway_id=device.gateway_id,
            channel=channels.BY_OPTION[method.spec.channel],
            command_type=method.name,
            data=data,
            timeout_seconds=timeout,
            accepted_at=now,
            deadline_at=now + timeout * 1000,
            job_key=method.job_key(message, command_id),
            sending=False,
        )
        return await self._dispatcher.accept(new, method)


def _is_over(command: Command, follow_job: bool) -> bool:
    if not follow_job:
        return command.status.is_end
    method = catalogue.METHODS.get(command.command_type)
    return command.is_over_with_job(method is not None and method.always_reports_a_job)


def _need(caller: Caller, scope: Scope) -> None:
    if scope not in caller.scopes:
        raise DockgateError(
            Reason.FORBIDDEN,
            f"{caller.principal} has not the scope {scope}, which this needs",
            metadata={"scope": scope},
        )


def _switched_off(what: str, setting: str) -> DockgateError:
    return DockgateError(
        Reason.FORBIDDEN,
        f"{what} are switched off; the gateway's setting {setting} allows them",
        metadata={"setting": setting},
    )


def _conflict(key: str, command_id: str) -> DockgateError:
    return DockgateError(
        Reason.IDEMPOTENCY_CONFLICT,
        f"idempotency_key {key!r} was used before with other content, for command {command_id}; "
        "a new submission needs a new key",
        metadata={"idempotency_key": key, "command_id": command_id},
    )


def _beyond(newest: str, metadata: dict[str, str]) -> DockgateError:
    return DockgateError(
        Reason.CURSOR_OUT_OF_RANGE,
        f"the watch was asked to begin behind the newest {newest}",
        metadata=metadata,
    )
