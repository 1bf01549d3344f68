"""The gRPC server over TLS, with its keys, its authority, and what it tells of its callers."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server.access.keys import Keys, NewKey
from dockgate_server.config import Grpc
from dockgate_server.errors import DockgateError
from dockgate_server.limits import Limits
from dockgate_server.model.caller import Caller, Origin
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer
from support.bridge import ScriptedBridge
from support.certificates import Authority
from support.clock import ManualClock
from support.core import Core, running


@dataclass
class Refusal:
    """What was told of a refused call."""

    caller: Caller | None
    claimed: str
    origin: Origin
    rpc: str
    reason: str


@dataclass
class Secured:
    """A server with TLS, its keys, and its authority."""

    core: Core
    keys: Keys
    elsewhere: Keys
    """The same keys, as ``dockgate keys`` in another process sees them."""
    clock: ManualClock
    authority: Authority
    server: RpcServer
    refusals: list[Refusal] = field(default_factory=list)
    taken: list[Caller] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def stub(
        self, key: NewKey | str | None = None, certificate: tuple[Path, Path] | None = None
    ) -> AsyncIterator[Any]:
        """A client with an API key (or other text in its place) and a certificate."""
        chain, private = (
            [file.read_bytes() for file in certificate] if certificate else (None, None)
        )
        credentials = grpc.ssl_channel_credentials(
            self.authority.certificate.read_bytes(), private, chain
        )
        if key is not None:
            token = key if isinstance(key, str) else bearer(key)
            calls = grpc.access_token_call_credentials(token)
            credentials = grpc.composite_channel_credentials(credentials, calls)
        async with grpc.aio.secure_channel(self.server.address, credentials) as channel:
            yield CommandServiceStub(channel)


def bearer(key: NewKey) -> str:
    return f"{key.key.api_id}.{key.secret}"


@contextlib.asynccontextmanager
async def secured(
    folder: Path,
    *,
    mutual: bool = False,
    take: Any = None,
    heartbeat_seconds: float = 15.0,
    limits: Limits | None = None,
    workers: int = 0,
) -> AsyncIterator[Secured]:
    """A server with TLS; ``mutual`` lets it insist on certificates of its clients."""
    authority = Authority(folder / "tls")
    certificate, key = authority.issue("server", "127.0.0.1")
    settings = Grpc(
        listen="127.0.0.1:0",
        workers=workers,
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=authority.certificate if mutual else None,
    )
    clock = ManualClock()
    refusals: list[Refusal] = []
    taken: list[Caller] = []

    def refused(
        caller: Caller | None, claimed: str, origin: Origin, rpc: str, error: DockgateError
    ) -> None:
        refusals.append(Refusal(caller, claimed, origin, rpc, error.reason))

    bridge = ScriptedBridge()
    database = folder / "dockgate.db"
    async with running(
        database, bridge, heartbeat_seconds=heartbeat_seconds, limits=limits
    ) as core:
        keys, elsewhere = (Keys(core.store, folder / "dockgate.db.key", clock) for _ in range(2))
        server = RpcServer(
            settings,
            core.commands,
            Health(),
            stop_seconds=5,
            keys=keys,
            take=take or taken.append,
            refused=refused,
            limits=limits,
            clock=clock,
        )
        async with server:
            yield Secured(core, keys, elsewhere, clock, authority, server, refusals, taken)
            core.hub.close()
