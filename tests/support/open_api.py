"""The open API on a port of its own, above a real store, with a broker that the test plays."""

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yarl

from dockgate_server.access import signature
from dockgate_server.access.keys import Keys, NewKey
from dockgate_server.access.verifier import Verifier
from dockgate_server.commands import Commands
from dockgate_server.config import Http
from dockgate_server.config.limits import LimitsSection
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.errors import Reason
from dockgate_server.http.server import HttpServer
from dockgate_server.hub import Hub
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbox import Inbox
from dockgate_server.limits import Limits, unlimited
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.command import CommandEvent
from dockgate_server.model.device import Device
from dockgate_server.model.device_request import DeviceRequest, NewRequest, Reply, Routing
from dockgate_server.store.sqlite import SqliteStore
from support.bridge import ScriptedBridge
from support.clock import ManualClock
from support.vault import VAULT

COMMANDS = "/api/v1/open/downlink/commands"
JSON = {"Content-Type": "application/json"}
SKEW_SECONDS = 300
NEVER_OVER_HTTP = {
    Reason.CURSOR_OUT_OF_RANGE,
    Reason.CURSOR_EXPIRED,
    Reason.COMMAND_NOT_CANCELLABLE,
}
"""Reasons of calls that only gRPC has."""

_nonces = itertools.count()


@dataclass(frozen=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.body["code"])

    @property
    def fields(self) -> list[str]:
        """The fields that an error names."""
        return [detail["field"] for detail in self.body["details"]]


@dataclass
class OpenApiUnderTest:
    """The server, a key of it, and everything behind it."""

    clock: ManualClock
    store: SqliteStore
    bridge: ScriptedBridge
    commands: Commands
    keys: Keys
    verifier: Verifier
    server: HttpServer
    key: NewKey
    session: aiohttp.ClientSession
    events: list[CommandEvent] = field(default_factory=list)

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.clock.now_ms() // 1000

    def sign(
        self, method: str, target: str, body: bytes = b"", key: NewKey | None = None, **parts: Any
    ) -> dict[str, str]:
        """The headers of a right signature, unless ``parts`` say otherwise."""
        key = key or self.key
        parts = {"timestamp": self.now, "nonce": f"nonce-{next(_nonces)}", **parts}
        return signature.signed_headers(
            api_id=key.key.api_id,
            secret=key.secret,
            method=method,
            target=target,
            body=body,
            **parts,
        )

    async def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]],
        body: Any = None,
    ) -> Answer:
        """Send a request just as it is."""
        url = yarl.URL(f"http://{self.server.address}{target}", encoded=True)
        async with self.session.request(
            method, url, headers=headers, data=body, skip_auto_headers=["Content-Type"]
        ) as response:
            raw = await response.read()
            return Answer(response.status, response.headers, orjson.loads(raw) if raw else {})

    async def post(
        self, body: bytes | Mapping[str, Any], *, key: NewKey | None = None, **headers: str
    ) -> Answer:
        """Send a rightly signed submission."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(
            "POST", COMMANDS, {**JSON, **self.sign("POST", COMMANDS, raw, key), **named}, raw
        )

    async def get(self, target: str, key: NewKey | None = None) -> Answer:
        """Send a rightly signed query."""
        return await self.send("GET", target, self.sign("GET", target, key=key))

    async def device_asks(
        self, request_id: str, reply: Reply | None = None, **changed: Any
    ) -> DeviceRequest:
        """A dock has asked for something that waits for a person, unless it has its reply."""
        now = self.clock.now_ms()
        values: dict[str, Any] = {
            "id": request_id,
            "gateway_id": "dock-001",
            "request_type": "a_newer_request",
            "tid": f"t{request_id[-1]}",
            "bid": "b1",
            "payload": b'{"big":12345678901234567890}',
            "routing": Routing.INBOX,
            "received_at": now,
            "expires_at": now + 40_000,
            **changed,
        }
        return await self.store.requests.record(NewRequest(**values), reply)

    async def nothing_was_stored(self) -> bool:
        """Whether no command has come to be, and nothing was sent."""
        return await self.store.newest_event_seq() == 0 and not self.bridge.published


@asynccontextmanager
async def serving(
    folder: Path, *, limits: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[OpenApiUnderTest]:
    """The open API with its database in ``folder``, and the devices drone-001 and dock-001."""
    clock = ManualClock()
    bridge = ScriptedBridge()
    hub = Hub()
    counted = unlimited() if limits is None else Limits(LimitsSection(**limits), clock)
    events: list[CommandEvent] = []

    def committed(committed: Sequence[CommandEvent]) -> None:
        events.extend(committed)
        dispatcher.committed(committed)
        counted.open_commands.committed(committed)
        hub.publish(committed)

    async with SqliteStore(folder / "dockgate.db", committed) as store:
        recorder = Recorder(store, clock)
        deadlines = Deadlines(recorder, clock)
        presence = PresenceBook(clock)
        seeds = [Device(DEFAULT_TENANT, one, "dock-001") for one in ("drone-001", "dock-001")]
        registry = Registry(store.devices, presence, seeds)
        dispatcher = Dispatcher(
            store, bridge, deadlines, recorder, presence, registry, clock, VAULT
        )
        commands = Commands(store, dispatcher, hub, registry, clock, VAULT, limits=counted)
        keys = Keys(store, folder / "dockgate.db.key", clock)
        verifier = Verifier(store, keys, clock, SKEW_SECONDS, counted)
        http = Http(**{"listen": "127.0.0.1:0", **settings})
        replies = RequestReplies(bridge, store.requests, clock, VAULT, 40)
        inbox = Inbox(store.requests, replies, clock, registry)
        server = HttpServer(http, commands, verifier, 5, inbox=inbox, limits=counted)
        async with server, aiohttp.ClientSession() as session:
            key = await keys.create("test")
            yield OpenApiUnderTest(
                clock, store, bridge, commands, keys, verifier, server, key, session, events
            )


def submission(**members: Any) -> dict[str, Any]:
    """A valid submission, with other members; those that are ``...`` are left out."""
    body = {
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": "camera_recording_start",
        "payload": {"payload_index": "39-0-7"},
        "idempotency_key": "key-1",
        **members,
    }
    return {name: value for name, value in body.items() if value is not ...}
