"""The servers through which callers come: gRPC, and HTTP where it is switched on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from dockgate_server.access.keys import Keys
from dockgate_server.access.verifier import Verifier
from dockgate_server.app.parts import Parts
from dockgate_server.rpc.server import RpcServer
from dockgate_server.supervision import Supervisor

if TYPE_CHECKING:
    from dockgate_server.http.server import HttpServer


@asynccontextmanager
async def serving(
    parts: Parts, http_server: "type[HttpServer] | None", supervisor: Supervisor
) -> AsyncIterator[tuple[str, str | None]]:
    """The addresses of gRPC and HTTP, while the block runs; HTTP stops first.

    Args:
        parts: What is served.
        http_server: What serves HTTP; None for no HTTP.
        supervisor: Is given what must not end.

    Raises:
        CannotListen: An address is in use, or the TLS files cannot be used.
        SealingProblem: The API keys cannot be opened.
    """
    shared, use_cases = parts.shared, parts.use_cases
    settings, clock, limits = shared.settings, shared.clock, shared.limits
    refused = parts.record.audit.refused
    keys = Keys(parts.record.store, settings.store.sealing_key, clock)
    if settings.http.enabled or settings.grpc.tls_certificate is not None:
        await keys.check()
    async with AsyncExitStack() as servers:
        rpc = RpcServer(
            settings.grpc,
            use_cases.commands,
            shared.health,
            settings.stop_seconds,
            fleet=use_cases.fleet,
            events=use_cases.events,
            inbox=use_cases.inbox,
            keys=keys,
            take=limits.rate.take,
            refused=refused,
            limits=limits,
            clock=clock,
            log=settings.log,
        )
        await servers.enter_async_context(rpc)
        supervisor.start("grpc", rpc.run())
        if http_server is None:
            yield rpc.address, None
            return
        skew = settings.http.clock_skew_seconds
        open_api = http_server(
            settings.http,
            use_cases.commands,
            Verifier(parts.record.store, keys, clock, skew, limits),
            settings.stop_seconds,
            inbox=use_cases.inbox,
            limits=limits,
            refused=refused,
        )
        await servers.enter_async_context(open_api)
        yield rpc.address, open_api.address
