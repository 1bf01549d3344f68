"""Whether what devices said meanwhile is lost, told from how connections began and ended."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from dockgate_server.bridge.mqtt import Broker, MqttBridge


def lost() -> aiomqtt.MqttError:
    """The connection broke."""
    return aiomqtt.MqttError("connection lost")


def taken_over() -> aiomqtt.MqttError:
    """Another client came with our identifier."""
    error = lost()
    error.__cause__ = aiomqtt.MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, identifier=0x8E))
    return error


@dataclass
class Connection:
    """One that begins, or is let in and comes to nothing, and then ends."""

    was_kept: bool | None
    begins: bool = True
    problem: Callable[[], aiomqtt.MqttError] = lost
    is_v5: bool = True
    receive_maximum: int = 20

    async def run(self, topics: Sequence[str], begin: Callable[[], None]) -> None:
        """Be open for a moment."""
        if self.begins:
            begin()
        raise self.problem()


async def kept(monkeypatch: pytest.MonkeyPatch, *connections: Connection) -> list[bool]:
    """Whether the session was kept, as of each connection that began."""
    said: list[bool] = []
    waiting = list(connections)
    bridge: Any = None

    def next_one() -> Connection:
        if not waiting:
            raise asyncio.CancelledError
        return waiting.pop(0)

    def changed(is_connected: bool) -> None:
        if is_connected:
            said.append(bridge.session_kept)

    bridge = MqttBridge(Broker("broker", 1883, "me"), [], lambda _: None, changed)
    monkeypatch.setattr(bridge, "_new_session", next_one)
    monkeypatch.setattr(bridge._steadiness, "failed", lambda *_, **__: 0.0)
    with pytest.raises(asyncio.CancelledError):
        await bridge.run()
    return said


async def test_it_is_what_the_broker_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the connection that began last."""
    connections = [Connection(one) for one in (False, True, False, True)]
    assert await kept(monkeypatch, *connections) == [False, True, False, True]


async def test_one_that_came_to_nothing_has_begun_a_session_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next connection finds that one, and the session before it is gone."""
    connections = [Connection(True), Connection(False, begins=False), Connection(True)]
    assert await kept(monkeypatch, *connections, Connection(True)) == [True, False, True]


async def test_one_that_was_not_let_in_or_found_the_session_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The broker keeps for us what comes meanwhile."""
    in_between = [Connection(None, begins=False), Connection(True, begins=False)]
    assert await kept(monkeypatch, *in_between, Connection(True)) == [True]


async def test_what_another_client_with_our_identifier_was_told_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though the session is the same."""
    connections = [Connection(True, problem=taken_over), Connection(True), Connection(True)]
    assert await kept(monkeypatch, *connections) == [True, False, True]
