"""What the gateway asks of a store about the requests of devices.

What :class:`~dockgate_server.store.interface.Store` says of changes holds here too.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from dockgate_server.model.audit import Entry
from dockgate_server.model.device_request import DeviceRequest, NewRequest, Reply, RequestFilter


@dataclass(frozen=True, slots=True)
class RequestPage:
    """A page of requests, newest first: fewer than were asked for where they are large."""

    requests: tuple[DeviceRequest, ...]
    next_before: int | None
    """The seq before which the next page begins; None behind the last one."""


class DeviceRequests(Protocol):
    """The record of what devices asked for, bounded: the oldest that are closed go first."""

    on_change: Callable[[DeviceRequest], None]
    """Is given, on the event loop, each request that has come or changed."""

    def record(self, new: NewRequest, reply: Reply | None) -> asyncio.Future[DeviceRequest]:
        """Insert a request: with its reply, or as one that waits.

        It belongs to the tenant of the device that asks.
        """

    def answer(
        self, request_id: str, reply: Reply, outgoing: bytes, audit: Entry | None = None
    ) -> asyncio.Future[DeviceRequest | None]:
        """Answer a request that waits; None when it does not.

        ``outgoing`` is the whole `data` of the answer, sealed, kept until it has been sent.
        """

    def sent(self, request_id: str) -> asyncio.Future[None]:
        """Forget what was to be sent."""

    def expire(self, request_id: str) -> asyncio.Future[DeviceRequest | None]:
        """Close a request that waits; None when it does not."""

    def not_sent(self, request_id: str) -> asyncio.Future[DeviceRequest | None]:
        """Close a request whose reply could not be sent in time; None when it is closed."""

    async def find(self, repeat_key: bytes) -> DeviceRequest | None:
        """The request that a device is repeating; one that has expired is not."""

    async def get(self, tenant: str, request_id: str) -> DeviceRequest | None:
        """The request as it is now; one of another tenant does not exist."""

    async def list(
        self,
        tenant: str,
        which: RequestFilter,
        before: int | None,
        limit: int,
        among: Collection[str] | None = None,
    ) -> RequestPage:
        """Requests, newest first, that were recorded before the given seq.

        Where ``among`` is given, only those of these gateway devices.
        """

    async def gateways(self, tenant: str) -> Collection[str]:
        """The gateway devices of a tenant whose requests are kept."""

    async def waiting(self) -> Sequence[DeviceRequest]:
        """All requests of every tenant that wait, oldest first."""

    async def unsent(self) -> Sequence[tuple[DeviceRequest, bytes]]:
        """All requests whose reply has not been sent, oldest first, with its sealed `data`."""
