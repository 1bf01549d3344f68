"""Coming online: registration if the dock insists on it, then the announcement."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress

import orjson

from dockgate_server.simulate import registration, replies
from dockgate_server.simulate.asking import Requests
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.link import Happened, Link
from dockgate_server.simulate.records import Changes, Received


class Presence:
    """Makes a dock known to the cloud, anew in each connection."""

    def __init__(
        self,
        config: DockConfig,
        *,
        link: Link,
        requests: Requests,
        happened: Happened,
        changes: Changes,
        now_ms: Callable[[], int],
    ) -> None:
        """Take what is needed to announce a dock; `changes` is woken when something changes."""
        self._config = config
        self._link = link
        self._requests = requests
        self._happened = happened
        self._changes = changes
        self._now_ms = now_ms
        self._refusal: str | None = None
        self._began = 0.0
        # Both hold the number of a connection: what was said in the last one counts no more.
        self._announced: dict[str, int] = {}
        self._accepted_in = 0

    @property
    def ready(self) -> bool:
        """True while connected and the cloud has answered the announcement."""
        return self._link.is_up and self._accepted_in == self._link.connections

    @property
    def refusal(self) -> str | None:
        """Why the cloud does not let the dock in; None if it does, or has not said yet."""
        return self._refusal

    @property
    def missing(self) -> str:
        """What keeps the dock from being online, for a person."""
        if self._refusal is not None:
            return f"the cloud has refused the registration ({self._refusal})"
        return f"no cloud has answered {', '.join(self._requests.unanswered) or 'update_topo'}"

    async def enter(self) -> None:
        """Come online; returns when the cloud has answered everything."""
        self._began = asyncio.get_running_loop().time()
        self._announced.clear()
        if self._config.register:
            await self._register()
        await self._announce()

    def hear(self, received: Received) -> None:
        """Take the cloud's answer to an announcement.

        Raises:
            ValueError: it answers none of this connection, or with another result than 0.
        """
        if self._announced.get(received.tid or "") != self._link.connections:
            raise ValueError(f"no announcement has tid {received.tid}")
        result = received.data.get("result") if isinstance(received.data, dict) else None
        if result != 0:
            raise ValueError(f"the announcement was answered with result {result!r}, not 0")
        if not self.ready:
            self._accepted_in = self._link.connections
            self._happened("accepted", "the announcement was answered", tid=received.tid)
            seconds = asyncio.get_running_loop().time() - self._began
            self._happened("online", f"after {seconds:.2f} s", seconds=round(seconds, 3))

    async def _register(self) -> None:
        """Register; refused, a dock stays and tries again, as the cloud may be set right."""
        while True:
            try:
                await registration.register(self._requests.ask, self._config)
            except registration.Refused as refused:
                self._refusal = str(refused)
                self._happened(
                    "refused",
                    f"{refused}, tried again in {self._config.register_again:g} s",
                    reason=str(refused),
                    method=refused.method,
                )
                self._changes.notify()
                await asyncio.sleep(self._config.register_again)
            else:
                self._refusal = None
                return

    async def _announce(self) -> None:
        """Say who is here until somebody answers."""
        while not self.ready:
            tid = str(uuid.uuid4())
            self._announced[tid] = self._link.connections
            message = replies.update_topo(
                drone=self._config.drone, tid=tid, bid=str(uuid.uuid4()), now_ms=self._now_ms()
            )
            happened = f"{self._config.gateway} with {self._config.drone}"
            self._happened("announced", happened, tid=tid)
            await self._link.publish(
                f"sys/product/{self._config.gateway}/status", orjson.dumps(message)
            )
            # The cloud may start later than the dock, so this is repeated.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.announce_every):
                    await self._changes.until(lambda: self.ready)
