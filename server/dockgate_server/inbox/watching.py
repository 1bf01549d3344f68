"""Following the requests of devices: those that wait, then each one that comes or changes."""

from collections.abc import AsyncIterator

from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server import errors
from dockgate_server.asking import check, need
from dockgate_server.hub import Watcher
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.device_request import DeviceRequest, RequestFilter
from dockgate_server.store.requests import DeviceRequests

MOST_UNSEEN = 10_000
"""Requests that may have changed since a watcher has looked last."""


class _Follower(Watcher):
    """One who watches, and what has changed since it has looked."""

    __slots__ = ("tenant", "unseen", "which")

    def __init__(self, tenant: str, which: RequestFilter) -> None:
        super().__init__()
        self.tenant = tenant
        self.which = which
        # By id, as only what a request is now counts: so a slow watcher keeps few of them.
        self.unseen: dict[str, DeviceRequest] = {}

    def wants(self, request: DeviceRequest) -> bool:
        """Whether it watches this request."""
        return request.tenant == self.tenant and self.which.matches(request)


class Watching:
    """Yields requests to watchers.

    Args:
        store: Where those that wait are read, and who tells of changes.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
    """

    def __init__(self, store: DeviceRequests, heartbeat_seconds: float) -> None:
        self._store = store
        self._heartbeat_seconds = heartbeat_seconds
        self._followers: set[_Follower] = set()
        self._closed = False
        store.on_change = self._changed

    async def watch(
        self, caller: Caller, request: pb.WatchDeviceRequestsRequest
    ) -> AsyncIterator[DeviceRequest | None]:
        """The caller's requests that wait, then each one that comes or changes.

        None is a sign of life. Does not end by itself.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN; UNAVAILABLE when the gateway stops, or
                the watcher is too slow.
        """
        need(caller, Scope.REQUESTS_READ)
        check(request)
        follower = _Follower(caller.tenant, RequestFilter(request.device_id, request.request_type))
        # Following begins before reading, so that nothing falls between the two.
        self._followers.add(follower)
        try:
            for waiting in await self._store.waiting():
                if follower.wants(waiting):
                    yield waiting
            while not (self._closed or follower.closed):
                unseen, follower.unseen = follower.unseen, {}
                for one in unseen.values():
                    yield one
                if not unseen and not await follower.wait(self._heartbeat_seconds):
                    yield None
            why = "the gateway is stopping" if self._closed else "the watch is too slow"
            raise errors.unavailable(f"{why}; watch again")
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """End every watch, and each one that still comes."""
        self._closed = True
        for follower in self._followers:
            follower.wake()

    def _changed(self, request: DeviceRequest) -> None:
        for follower in self._followers:
            if follower.wants(request):
                follower.unseen.pop(request.id, None)
                follower.unseen[request.id] = request
                follower.closed = len(follower.unseen) > MOST_UNSEEN
                follower.wake()
