"""The whole gateway in this process, with its real parts, on ports of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate.downlink.v1.command_pb2 import CommandEvent, CommandStatus
from dockgate_server import app, config, simulate
from support.brokers import RunningBroker


@dataclass
class Gateway:
    """A running gateway and a client of it."""

    app: app.App
    stub: Any
    channel: grpc.aio.Channel

    async def events(self, command_id: str, **request: Any) -> list[CommandEvent]:
        """All events of a watch that ends by itself, without heartbeats."""
        watched = pb.WatchCommandRequest(command_id=command_id, **request)
        return [
            update.event
            async for update in self.stub.WatchCommand(watched, timeout=30)
            if update.HasField("event")
        ]

    async def set_writable(self, writable: bool) -> None:
        """Give the store's permission to write, or take it away."""
        pragma = f"PRAGMA query_only = {'OFF' if writable else 'ON'}"
        await self.app.store._writer._connection.run(lambda db: db.execute(pragma).fetchall())

    async def end_of(self, command_id: str) -> str:
        """The status in which a command ends."""
        events = await self.events(command_id)
        name = CommandStatus.Name(events[-1].command.status)
        return name.removeprefix("COMMAND_STATUS_")


@asynccontextmanager
async def running(broker_url: str, folder: Path, **sections: Any) -> AsyncIterator[Gateway]:
    """A gateway on a broker, with its database in ``folder``."""
    settings = config.load(
        **{
            "mqtt": {"url": broker_url, "send_without_expiry": True},
            "grpc": {"listen": "127.0.0.1:0"},
            "http": {"listen": "127.0.0.1:0"},
            "store": {"path": folder / "dockgate.db"},
            **sections,
        }
    )
    async with (
        app.running(settings) as started,
        grpc.aio.insecure_channel(started.grpc_address) as channel,
    ):
        yield Gateway(started, pb_grpc.CommandServiceStub(channel), channel)


def quick_dock(on: RunningBroker, **config: Any) -> simulate.DockConfig:
    """dock-001 with drone-001, without the pauses of a real one."""
    broker = simulate.Broker(port=on.port)
    quick = {"answer_after": 0.0, "step_every": 0.0, "retry_first": 0.05, "announce_every": 0.2}
    return simulate.DockConfig(broker=broker, **{**quick, **config})


def recording_start(key: str, device_id: str = "drone-001", **fields: Any) -> Any:
    """A valid submission of camera_recording_start."""
    request = pb.SubmitCommandRequest(device_id=device_id, idempotency_key=key, **fields)
    request.dji.camera_recording_start.payload_index = "39-0-7"
    return request
