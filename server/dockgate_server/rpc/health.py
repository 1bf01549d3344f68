"""The standard health service: what load balancers and orchestrators are told, decided here.

The library's own servicer is not used: its watches stay open when the server stops, and the stop
would wait for them as long as it waits at all.
"""

import asyncio
from typing import Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from dockgate.downlink.v1 import (
    command_service_pb2,
    device_request_service_pb2,
    device_service_pb2,
)
from dockgate_server.rpc.arrival import write

SERVICE: Final = command_service_pb2.DESCRIPTOR.services_by_name["CommandService"].full_name
SERVICES: Final = (
    SERVICE,
    device_service_pb2.DESCRIPTOR.services_by_name["DeviceService"].full_name,
    device_request_service_pb2.DESCRIPTOR.services_by_name["DeviceRequestService"].full_name,
)
DISPATCH: Final = "dispatch"

MOST_CALLS: Final = 1500
"""Open at once, of every kind: also such as never say what they want, or do not read the answer."""

_WATCHES_OF_CALLS: Final = (2, 3)
"""The part of these that may be watches, of all clients together: nobody has to say who they are to
open one, and those who ask once must find room."""

_Context = aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # it has no types
    """Is told what changes, and says by name what serves.

    The server as a whole ("") and its services serve for as long as calls are answered: without a
    broker, or on a full disk, commands can still be read and watched. ``dispatch`` serves only
    while commands can also be sent and recorded.
    """

    def __init__(self) -> None:
        self._serving = False
        self._stopped = False
        self._connected = False
        self._writable = True
        self._changed = asyncio.Event()
        self._watches = 0
        self._most_watches = 0

    def share(self, calls: int) -> None:
        """Be told how many calls of this service may be open at once, before there are any."""
        part, of = _WATCHES_OF_CALLS
        self._most_watches = calls * part // of

    def start(self) -> None:
        """Calls are answered from now on."""
        self._serving = True
        self._tell()

    def stop(self) -> None:
        """Nothing serves any more. Watches are told and ended."""
        self._serving, self._stopped = False, True
        self._tell()

    def connection_changed(self, connected: bool) -> None:
        """Messages can be published, or no longer can."""
        self._connected = connected
        self._tell()

    def store_changed(self, writable: bool) -> None:
        """The store takes changes, or no longer does."""
        self._writable = writable
        self._tell()

    async def Check(self, request: HealthCheckRequest, context: _Context) -> HealthCheckResponse:  # noqa: N802
        """Say how a name is now."""
        status = self._statuses().get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r}")
        return HealthCheckResponse(status=status)

    async def List(  # noqa: N802
        self, request: HealthListRequest, context: _Context
    ) -> HealthListResponse:
        """Say how all names are now."""
        statuses = {name: HealthCheckResponse(status=one) for name, one in self._statuses().items()}
        return HealthListResponse(statuses=statuses)

    async def Watch(self, request: HealthCheckRequest, context: _Context) -> None:  # noqa: N802
        """Say how a name is, at once and whenever it changes."""
        if self._watches >= self._most_watches:
            why = f"{self._watches} watches of the health are open; ask with Check, or try later"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, why)
        told = None
        self._watches += 1
        try:
            while True:
                # Taken before the state is read, so that no change falls in between.
                changed, stopped = self._changed, self._stopped
                status = self._statuses().get(request.service, HealthCheckResponse.SERVICE_UNKNOWN)
                if status != told:
                    # Written, not yielded: what holds a place must end together with the call.
                    await write(context, HealthCheckResponse(status=status))
                    told = status
                if stopped:
                    return
                await changed.wait()
        finally:
            self._watches -= 1

    def _statuses(self) -> dict[str, Any]:
        dispatches = self._serving and self._connected and self._writable
        serves = {**dict.fromkeys(("", *SERVICES), self._serving), DISPATCH: dispatches}
        said = {True: HealthCheckResponse.SERVING, False: HealthCheckResponse.NOT_SERVING}
        return {name: said[good] for name, good in serves.items()}

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
