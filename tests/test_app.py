"""The gateway as a whole: what a stop ends and writes down, signals, and who hears of what."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from dockgate.downlink.v1 import (
    command_service_pb2,
    command_service_pb2_grpc,
    device_request_service_pb2,
    device_request_service_pb2_grpc,
    device_service_pb2,
    device_service_pb2_grpc,
)
from dockgate_server import app, config
from dockgate_server.app import parts
from dockgate_server.model.device import Topology

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
NOBODY = "mqtt://127.0.0.1:1"


def settings(folder: Path) -> config.Settings:
    """Those of a gateway without a broker."""
    return config.load(
        mqtt={"url": NOBODY},
        grpc={"listen": "127.0.0.1:0"},
        http={"enabled": False},
        store={"path": folder / "dockgate.db"},
        watch_heartbeat_seconds=0.05,
        stop_seconds=2,
    )


async def test_a_stop_ends_every_watch_at_once(tmp_path: Path) -> None:
    """By itself, with a reason: one that is not told holds the stop up until it is cut off."""
    async with app.running(settings(tmp_path)) as started:
        channel = grpc.aio.insecure_channel(started.grpc_address)
        commands: Any = command_service_pb2_grpc.CommandServiceStub(channel)
        devices: Any = device_service_pb2_grpc.DeviceServiceStub(channel)
        requests: Any = device_request_service_pb2_grpc.DeviceRequestServiceStub(channel)
        watches = [
            commands.WatchCommands(command_service_pb2.WatchCommandsRequest()),
            devices.WatchDevices(device_service_pb2.WatchDevicesRequest()),
            devices.WatchEvents(device_service_pb2.WatchEventsRequest()),
            requests.WatchDeviceRequests(device_request_service_pb2.WatchDeviceRequestsRequest()),
        ]
        ends = [asyncio.create_task(_end(watch)) for watch in watches]
        for watch in watches:
            await watch.wait_for_connection()
    for end in ends:
        error = await end
        assert error.code() is UNAVAILABLE
        assert "the gateway is stopping" in str(error.details())
    await channel.close()


async def _end(watch: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_all(watch)
    return caught.value


async def _read_all(watch: Any) -> None:
    while True:
        await watch.read()


async def test_a_stop_writes_down_who_was_heard_of(tmp_path: Path) -> None:
    """The next start knows when that was, though it is written only now and then."""
    topology = Topology("dock-001", "3-2-0", (("drone-001", "0-91-0"),), 1_776_859_200_000)
    async with app.running(settings(tmp_path)) as started:
        await started.registry.learn(topology)
    async with app.running(settings(tmp_path)) as started:
        drone = started.registry.resolve("default", "drone-001")
        assert started.registry.heard_at(drone) == 1_776_859_200_000


class Signalled:
    """Stands in for the event loop, and for the system behind it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: dict[int, Callable[[], None]] = {}

    def time(self) -> float:
        """Now."""
        return self.now

    def add_signal_handler(self, one: int, asked: Callable[[], None]) -> None:
        """Note who is to be called."""
        self.asked[one] = asked

    def remove_signal_handler(self, one: int) -> None:
        """Note that nobody is."""
        del self.asked[one]


def test_a_signal_that_comes_twice_at_once_asks_for_one_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy does not cut the stop short; whoever asks again later means it."""
    system, exits = Signalled(), []
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: system)
    monkeypatch.setattr(os, "_exit", exits.append)
    stop = asyncio.Event()
    with app._stopping_on_signals(stop):
        system.asked[signal.SIGINT]()
        assert stop.is_set()
        system.now += app._COPY_SECONDS
        system.asked[signal.SIGTERM]()
        assert exits == []
        system.now += 0.001
        system.asked[signal.SIGINT]()
        assert exits == [130]
    assert system.asked == {}


@pytest.mark.parametrize(
    ("connected", "session_kept", "doubted"),
    [(True, True, 0), (True, False, 1), (False, True, 0), (False, False, 0)],
)
def test_who_is_there_is_doubted_when_the_broker_has_lost_our_session(
    connected: bool, session_kept: bool, doubted: int
) -> None:
    """Then a last will, or a topology, may have been missed; otherwise it comes now."""
    told: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        return lambda *_: told.append(name)

    hears = SimpleNamespace(connection_changed=noted("connection"))
    presence = SimpleNamespace(forget=noted("forget"))
    registry = SimpleNamespace(forget_aircraft=noted("forget aircraft"))
    bridge = SimpleNamespace(session_kept=session_kept)
    reports = parts.Reports(cast("Any", SimpleNamespace(health=hears, presence=presence)))
    reports.connect(
        cast("Any", SimpleNamespace(registry=registry)),
        cast("Any", SimpleNamespace(bridge=bridge, dispatcher=hears)),
        cast("Any", SimpleNamespace(replies=hears, inbound=hears)),
    )
    reports.connection_changed(connected)
    assert (told.count("forget"), told.count("connection")) == (doubted, 4)
    assert told.count("forget aircraft") == doubted
