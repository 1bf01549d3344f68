"""Following what devices tell: from a cursor on, over reconnects, without a gap."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server import asking, errors
from dockgate_server.codec import cursor
from dockgate_server.devices.reach import Reach
from dockgate_server.devices.registry import Registry
from dockgate_server.hub import Feed
from dockgate_server.limits import Limits, unlimited
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.event import DeviceEvent
from dockgate_server.store.events import DeviceEvents

_EVENTS_PER_READ = 500


@dataclass(frozen=True, slots=True)
class EventUpdate:
    """A step of a watch: an event, or None for a sign of life, and the cursor behind it."""

    event: DeviceEvent | None
    cursor: str


class EventWatching:
    """Yields what devices tell.

    Args:
        store: Where events are read.
        feed: Wakes watchers.
        registry: Knows by which gateway device a device is reached.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        limits: How many watches may be open; none by default.
    """

    def __init__(
        self,
        store: DeviceEvents,
        feed: Feed[DeviceEvent],
        registry: Registry,
        *,
        heartbeat_seconds: float = 15.0,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._feed = feed
        self._registry = registry
        self._heartbeat_seconds = heartbeat_seconds
        self._watches = (limits or unlimited()).watches

    async def watch(
        self, caller: Caller, request: pb.WatchEventsRequest
    ) -> AsyncIterator[EventUpdate]:
        """The events of the caller's devices from a cursor on, or from now.

        The first update is a sign of life, so that the caller has a cursor from the start.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, DEVICE_NOT_FOUND, CURSOR_OUT_OF_RANGE;
                CURSOR_EXPIRED, also on the way, when events have been removed before they were
                read; UNAVAILABLE when the gateway stops.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        gateway_id, methods = "", frozenset(request.methods)
        reach = Reach(self._registry, caller)
        if request.device_id:
            gateway_id = reach.resolve(request.device_id).gateway_id
            # Who may reach only the drone would never see anything.
            if not reach.has_gateway(gateway_id):
                raise asking.out_of_reach(caller, gateway_id)
        after = self._feed.newest_seq
        if request.after:
            after = cursor.read(cursor.EVENTS, request.after, "after")
            # A watcher may have read from the store what the feed is told a moment later.
            if after > self._feed.newest_seq and after > await self._store.newest_seq():
                raise asking.beyond("event of this gateway")

        def concerns(event: DeviceEvent) -> bool:
            return (
                event.tenant == caller.tenant
                and (not gateway_id or event.gateway_id == gateway_id)
                and (not methods or event.method in methods)
                and reach.has_gateway(event.gateway_id)
            )

        following = self._feed.follow(
            after,
            concerns,
            self._store.behind,
            page=_EVENTS_PER_READ,
            heartbeat_seconds=self._heartbeat_seconds,
        )
        with self._watches.one_more(caller):
            async with aclosing(following):
                async for event, behind in following:
                    yield EventUpdate(event, cursor.write(cursor.EVENTS, behind))
        raise errors.unavailable("the gateway is stopping; watch again with the last cursor")
