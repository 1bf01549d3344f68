"""What the log says of clients that leave while they are answered."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc

from dockgate_server.rpc import grpc_log
from dockgate_server.rpc.listening import Listener, Terms

NOT_SENT = 'Failed "execute_batch": (<grpc._cython.cygrpc.SendStatusFromServerOperation object>,)'
"""What gRPC says when its core could not send something."""


class _Only(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it takes none at run time
    """Has one handler for everything."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._handler


@asynccontextmanager
async def _called(made: Callable[..., Any], raises: Exception) -> AsyncIterator[None]:
    """A call of a real server that has just ended with an error."""
    ended = asyncio.Event()

    async def behave(_: Any, context: Any) -> bytes:
        context.add_done_callback(lambda _: ended.set())
        raise raises

    listener = Listener(Terms("127.0.0.1:0", [], 10, None))
    listener.add(_Only(made(behave)))
    port = await listener.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/any/thing")(b"")
        async with asyncio.timeout(5):
            await ended.wait()
        yield
        call.cancel()
    await listener.stop(None)  # type: ignore[arg-type]  # at once


WAYS = [grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler]


@pytest.mark.parametrize("made", WAYS, ids=["one answer", "a stream"])
async def test_a_client_that_leaves_is_not_in_the_log(
    caplog: pytest.LogCaptureFixture, made: Callable[..., Any]
) -> None:
    """Each of them would be an error with a traceback."""
    async with _called(made, cygrpc.ExecuteBatchError(NOT_SENT)):
        assert caplog.records == []


async def test_grpc_would_write_it_down(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name and with the words that are looked for: they may change with its version."""
    monkeypatch.setattr(grpc_log, "_NOT_SENT", "something else")
    async with _called(WAYS[0], cygrpc.ExecuteBatchError(NOT_SENT)):
        assert [(one.name, one.levelno) for one in caplog.records] == [
            (grpc_log.NAME, logging.ERROR)
        ]


@pytest.mark.parametrize(
    "error",
    [
        cygrpc.ExecuteBatchError("Failed grpc_call_start_batch: 8"),
        cygrpc.UsageError("RPC already finished."),
        RuntimeError("a bug"),
    ],
)
async def test_bugs_are_in_the_log_as_ever(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Also what gRPC's core does not even begin."""
    async with _called(WAYS[0], error):
        assert len(caplog.records) == 1
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].exc_info[1] is error
