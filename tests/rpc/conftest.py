"""A real gRPC server over a real store; the test plays the broker."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.bridge import ScriptedBridge
from support.core import Core, running

from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate_server.config import Grpc
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """Store, dispatcher and use cases, with the drone of the examples known."""
    async with running(tmp_path / "dockgate.db", ScriptedBridge()) as core:
        yield core


@pytest.fixture
def health() -> Health:
    """What the server is told of its parts."""
    return Health()


@pytest.fixture
async def server(core: Core, health: Health) -> AsyncIterator[RpcServer]:
    """The gRPC server on a free port."""
    settings = Grpc(listen="127.0.0.1:0")
    async with RpcServer(settings, core.commands, health, stop_seconds=5) as server:
        yield server
        core.hub.close()


@pytest.fixture
async def channel(server: RpcServer) -> AsyncIterator[grpc.aio.Channel]:
    """A client's connection."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    """A client."""
    return pb_grpc.CommandServiceStub(channel)
