"""The requests of devices from end to end, on a real store; the test plays broker and devices."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server.bridge.interface import Inbound
from dockgate_server.codec import envelope
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbound.requests import Requests
from dockgate_server.inbox import Inbox
from dockgate_server.model.caller import LOCAL, Caller
from dockgate_server.model.device_request import DeviceRequest, RequestFilter
from dockgate_server.providers import Provider, Providers
from dockgate_server.store.sqlite import SqliteStore
from support.bridge import Published, ScriptedBridge
from support.clock import ManualClock
from support.vault import VAULT

ANSWER_SECONDS = 40.0


@dataclass
class Desk:
    """The parts, and shorthands for what a test does with them."""

    clock: ManualClock
    bridge: ScriptedBridge
    store: SqliteStore
    replies: RequestReplies
    requests: Requests
    inbox: Inbox
    acknowledged: list[str] = field(default_factory=list)

    def ask(
        self, method: str, data: Any = None, tid: str = "t1", gateway: str = "dock-001"
    ) -> None:
        """A device asks; its tid is in ``acknowledged`` when the message is acknowledged."""
        content = {"tid": tid, "bid": "b1", "method": method, "data": data}
        self.receive(orjson.dumps(content), tid, gateway)

    def receive(self, payload: bytes, name: str = "", gateway: str = "dock-001") -> None:
        """A message comes on the topic of requests."""
        topic = f"thing/product/{gateway}/requests"
        message = Inbound(topic, payload, lambda: self.acknowledged.append(name))
        self.requests.handle(gateway, envelope.read(payload), message)

    async def settle(self) -> None:
        """Let everything happen that can happen without the test doing something."""
        for _ in range(5):
            while self.requests._serving:
                await asyncio.wait(self.requests._serving.values())
            await self.store.forget_nonces(0)

    async def asked(self, method: str, data: Any = None, **changed: Any) -> DeviceRequest:
        """A device asks; returns the request as it is recorded."""
        self.ask(method, data, **changed)
        await self.settle()
        return (await self.recorded())[0]

    async def recorded(self) -> tuple[DeviceRequest, ...]:
        """All requests, newest first."""
        page = await self.store.requests.list("default", RequestFilter(), None, 100)
        return page.requests

    async def reply(
        self,
        request_id: str,
        code: int = 0,
        caller: Caller = LOCAL,
        message: str = "",
        **payload: Any,
    ) -> DeviceRequest:
        """A person answers."""
        request = pb.ReplyDeviceRequestRequest(
            request_id=request_id, reply_code=code, reply_message=message
        )
        if payload:
            request.payload.update(payload)
        return await self.inbox.reply(caller, request)

    def sent(self) -> list[dict[str, Any]]:
        """What was published to devices."""
        return [dict(one.content) for one in self.bridge.published]

    def last(self) -> Published:
        """What was published last."""
        return self.bridge.published[-1]

    def everything_stored(self) -> bytes:
        """The database as bytes."""
        return b"".join(
            file.read_bytes() for file in self.store._path.parent.glob(f"{self.store._path.name}*")
        )


@asynccontextmanager
async def sitting(
    database: Path,
    providers: Mapping[str, Provider] | Providers | None = None,
    clock: ManualClock | None = None,
    bridge: ScriptedBridge | None = None,
) -> AsyncIterator[Desk]:
    """The parts, started; a second time on the same database is a gateway started again."""
    bridge, clock = bridge or ScriptedBridge(), clock or ManualClock()
    if not isinstance(providers, Providers):
        providers = Providers(providers or {})
    async with SqliteStore(database) as store:
        replies = RequestReplies(bridge, store.requests, clock, VAULT, ANSWER_SECONDS)
        requests = Requests(store.requests, providers, replies, clock, ANSWER_SECONDS)
        registry = Registry(store.devices, PresenceBook(clock))
        await registry.load()
        inbox = Inbox(store.requests, replies, clock, registry, heartbeat_seconds=0.05)
        await replies.recover()
        try:
            yield Desk(clock, bridge, store, replies, requests, inbox)
        finally:
            inbox.close()
            await requests.close()
            replies.close()
