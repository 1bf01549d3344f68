"""Following commands: from a cursor on, over reconnects, without a gap."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import asking, errors
from dockgate_server.codec import catalogue, cursor
from dockgate_server.commands import requests
from dockgate_server.devices.reach import Reach
from dockgate_server.devices.registry import Registry
from dockgate_server.hub import Hub
from dockgate_server.limits.watches import Watches
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.command import Command, CommandEvent
from dockgate_server.store.interface import Store

_EVENTS_PER_READ = 200


@dataclass(frozen=True, slots=True)
class FleetUpdate:
    """A step of a fleet watch: an event, or None for a sign of life, and the token behind it."""

    event: CommandEvent | None
    resume_token: str


class Watching:
    """Yields the events of one command or of all.

    Args:
        store: Where events are read.
        hub: Wakes watchers.
        registry: Knows which devices are whose.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        watches: How many may be open.
    """

    def __init__(
        self,
        store: Store,
        hub: Hub,
        registry: Registry,
        heartbeat_seconds: float,
        watches: Watches,
    ) -> None:
        self._store = store
        self._hub = hub
        self._registry = registry
        self._heartbeat_seconds = heartbeat_seconds
        self._watches = watches

    async def watch(
        self, caller: Caller, request: pb.WatchCommandRequest
    ) -> AsyncIterator[CommandEvent | None]:
        """The command's events behind a revision, then each new one; None is a sign of life.

        Ends behind the event that ended the command, or its job where that is followed.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, COMMAND_NOT_FOUND (also when the command
                is removed as old meanwhile), CURSOR_OUT_OF_RANGE, RATE_LIMITED; CURSOR_EXPIRED,
                when events behind the revision have been removed already; UNAVAILABLE when the
                gateway stops.
        """
        asking.need(caller, Scope.READ)
        command_id, after = requests.command_id(request), request.after_revision
        reach = Reach(self._registry, caller)
        with self._watches.one_more(caller), self._hub.watch_command(command_id) as watcher:
            # Watching begins before reading, so that nothing falls between the two.
            command = await requests.find(self._store, reach, command_id)
            if after > command.revision:
                raise asking.beyond(f"revision {command.revision}", newest=str(command.revision))
            if await self._was_over(reach, command, after, request.follow_job):
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
                        # Nothing more will come of a command that has been removed as old.
                        await requests.find(self._store, reach, command_id)
                        yield None

    async def watch_all(
        self, caller: Caller, request: pb.WatchCommandsRequest
    ) -> AsyncIterator[FleetUpdate]:
        """The events of all the caller's commands from a token on, or from now.

        The first update is a sign of life, so that the caller has a token from the start.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, CURSOR_OUT_OF_RANGE, RATE_LIMITED;
                CURSOR_EXPIRED, also on the way, when events have been removed before they were
                read; UNAVAILABLE when the gateway stops.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        which = requests.filter_of(request)
        reach = Reach(self._registry, caller)
        reach.check_name(which.device_id)
        after = self._hub.newest_seq
        if request.resume_token:
            after = cursor.read(cursor.RESUME, request.resume_token, "resume_token")
            # A watcher may have read from the store what the hub is told a moment later.
            newest = self._hub.newest_seq
            if after > newest and after > await self._store.newest_event_seq():
                raise asking.beyond("event of this gateway")

        def concerns(event: CommandEvent) -> bool:
            command = event.command
            is_ours = command.tenant == caller.tenant and which.matches(command)
            return is_ours and requests.may_see(reach, command)

        following = self._hub.follow(
            after,
            concerns,
            self._store.events_of_all_commands,
            page=_EVENTS_PER_READ,
            heartbeat_seconds=self._heartbeat_seconds,
        )
        with self._watches.one_more(caller):
            async with aclosing(following):
                async for event, behind in following:
                    yield FleetUpdate(event, cursor.write(cursor.RESUME, behind))
        raise errors.unavailable("the gateway is stopping; watch again with the last resume_token")

    async def _was_over(
        self, reach: Reach, command: Command, revision: int, follow_job: bool
    ) -> bool:
        """Whether the event of that revision, which the watcher has seen, was the last one.

        What is only recorded behind the end, such as a second reply or a job of a method that need
        not start one, does not begin a new watch.
        """
        if not revision or not command.status.is_end:
            return False
        tenant = reach.caller.tenant
        seen = await self._store.events_of_command(tenant, command.id, revision - 1, 1)
        if not seen:  # it has just been removed as old, and nothing shows any more what it was
            await requests.find(self._store, reach, command.id)
        return bool(seen) and _is_over(seen[0].command, follow_job)


def _is_over(command: Command, follow_job: bool) -> bool:
    if not follow_job:
        return command.status.is_end
    method = catalogue.METHODS.get(command.command_type)
    return command.is_over_with_job(method is not None and method.always_reports_a_job)
