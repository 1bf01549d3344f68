"""Following the requests of devices: those that wait, then each one that comes or changes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.asking import check, need
from dockgate_server.devices.reach import Reach
from dockgate_server.devices.registry import Registry
from dockgate_server.hub import Watcher
from dockgate_server.limits.watches import Watches
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.device_request import DeviceRequest, RequestFilter
from dockgate_server.store.requests import DeviceRequests

MOST_UNSEEN = 10_000
"""Requests that may have changed since a watcher has looked last."""


class Complete:
    """Every request that waits has been given."""


class _Follower(Watcher):
    """One who watches, and what has changed since it has looked."""

    __slots__ = ("reach", "unseen", "which")

    def __init__(self, reach: Reach, which: RequestFilter) -> None:
        super().__init__()
        self.reach = reach
        self.which = which
        # By id, as only what a request is now counts: so a slow watcher keeps few of them.
        self.unseen: dict[str, DeviceRequest] = {}

    def wants(self, request: DeviceRequest) -> bool:
        """Whether it watches this request."""
        is_ours = request.tenant == self.reach.caller.tenant
        return (
            is_ours and self.which.matches(request) and self.reach.has_gateway(request.gateway_id)
        )


class Watching:
    """Yields requests to watchers.

    Args:
        store: Where those that wait are read, and who tells of changes.
        registry: Knows which devices are whose.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        watches: How many may be open.
    """

    def __init__(
        self,
        store: DeviceRequests,
        registry: Registry,
        heartbeat_seconds: float,
        watches: Watches,
    ) -> None:
        self._store = store
        self._registry = registry
        self._watches = watches
        self._heartbeat_seconds = heartbeat_seconds
        self._followers: set[_Follower] = set()
        self._closed = False
        store.on_change = self._changed

    async def watch(
        self, caller: Caller, request: pb.WatchDeviceRequestsRequest
    ) -> AsyncIterator[DeviceRequest | Complete | None]:
        """The caller's requests that wait, the word of it, then each one that comes or changes.

        None is a sign of life. Does not end by itself.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, RATE_LIMITED; UNAVAILABLE when the
                gateway stops, or the watcher is too slow.
        """
        need(caller, Scope.REQUESTS_READ)
        check(request)
        reach = Reach(self._registry, caller)
        reach.check_name(request.device_id)
        gateway_id = reach.serial_number(request.device_id)
        follower = _Follower(reach, RequestFilter(gateway_id, request.request_type))
        # Following begins before reading, so that nothing falls between the two.
        with self._watches.one_more(caller), self._following(follower):
            begun_with: dict[str, DeviceRequest] = {}
            for waiting in await self._store.waiting():
                if follower.wants(waiting):
                    begun_with[waiting.id] = waiting
                    yield waiting
            yield Complete()
            while not (self._closed or follower.closed):
                unseen, follower.unseen = follower.unseen, {}
                for one in unseen.values():
                    # What came while they were read is news as well, now or in a moment.
                    if begun_with.pop(one.id, None) != one:
                        yield one
                if not unseen and not await follower.wait(self._heartbeat_seconds):
                    yield None
            why = "the gateway is stopping" if self._closed else "the watch is too slow"
            raise errors.unavailable(f"{why}; watch again")

    def close(self) -> None:
        """End every watch, and each one that still comes."""
        self._closed = True
        for follower in self._followers:
            follower.wake()

    @contextmanager
    def _following(self, follower: _Follower) -> Iterator[None]:
        self._followers.add(follower)
        try:
            yield
        finally:
            self._followers.discard(follower)

    def _changed(self, request: DeviceRequest) -> None:
        for follower in self._followers:
            if follower.wants(request):
                follower.unseen.pop(request.id, None)
                follower.unseen[request.id] = request
                follower.closed = len(follower.unseen) > MOST_UNSEEN
                follower.wake()
