"""The parts alone, as servers without anything of ours: ``python -m bench.bare``.

Prints the ports of a gRPC server that echoes and streams, and of an HTTP server that echoes.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from aiohttp import web
from grpc import aio

ECHO: Final = "/bench.Bare/Echo"
STREAM: Final = "/bench.Bare/Stream"
PUSH: Final = "/bench.Bare/Push"
HTTP_ECHO: Final = "/echo"


class Bare:
    """A service whose messages are bytes: not even protobuf takes its time."""

    def __init__(self) -> None:
        self._woken: set[asyncio.Event] = set()
        self._pushed: list[bytes] = []

    async def echo(self, message: bytes, context: Any) -> bytes:
        """Answer with what came."""
        return message

    async def push(self, message: bytes, context: Any) -> bytes:
        """Give the message to everybody who streams."""
        self._pushed.append(message)
        for event in self._woken:
            event.set()
        return b""

    async def stream(self, message: bytes, context: Any) -> AsyncIterator[bytes]:
        """Echo it, then yield whatever is pushed."""
        woken = asyncio.Event()
        self._woken.add(woken)
        seen = len(self._pushed)
        try:
            yield message
            while True:
                await woken.wait()
                woken.clear()
                for pushed in self._pushed[seen:]:
                    seen += 1
                    yield pushed
        finally:
            self._woken.discard(woken)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, for a server."""
        return grpc.method_handlers_generic_handler(
            "bench.Bare",
            {
                "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
                "Push": grpc.unary_unary_rpc_method_handler(self.push),
                "Stream": grpc.unary_stream_rpc_method_handler(self.stream),
            },
        )


async def _http_echo(request: web.BaseRequest) -> web.Response:
    return web.Response(body=await request.read(), content_type="application/json")


async def main() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = aio.server(
        options=[
            ("grpc.server.max_pending_requests", 100_000),
            ("grpc.server.max_pending_requests_hard_limit", 100_000),
        ]
    )
    server.add_generic_rpc_handlers((Bare().handlers(),))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    runner = web.ServerRunner(web.Server(_http_echo, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{grpc_port} {site.port}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop(0)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
