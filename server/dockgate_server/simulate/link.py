"""The dock's link to its broker: connects, subscribes, comes back by itself, can be away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import aiomqtt

from dockgate_server import mqtt
from dockgate_server.simulate import connection
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.records import Changes


class Happened(Protocol):
    """Takes down that something happened to the dock."""

    def __call__(self, kind: str, text: str, **details: object) -> None:
        """Take down one thing; see `records.Happening`."""


def backoff(failures: int, config: DockConfig, rng: random.Random) -> float:
    """Return the seconds to wait before connecting, after so many failures in a row."""
    if failures == 0:
        return 0.0
    # Capped before it is raised: 2 to the power of a week of failures is no float.
    longest = min(config.retry_most, config.retry_first * 2.0 ** min(failures - 1, 32))
    return longest * (0.5 + rng.random() / 2)


class Link:
    """Keeps one dock connected for as long as it is to be online."""

    def __init__(
        self,
        config: DockConfig,
        *,
        topics: Sequence[str],
        will: aiomqtt.Will,
        on_message: Callable[[aiomqtt.Message], None],
        while_connected: Callable[[], Awaitable[None]],
        happened: Happened,
        changes: Changes,
        rng: random.Random,
    ) -> None:
        """Prepare a link; `run` makes it work.

        Args:
            config: broker, serial number, pauses.
            topics: what to subscribe to before anything is said.
            will: what is published when the dock leaves, by itself or by the broker.
            on_message: called for every message, in order.
            while_connected: started anew in each connection, cancelled at its end.
            happened: told of connections, failures and absences.
            changes: woken when the state of the link has changed.
            rng: source of the jitter.
        """
        self._config = config
        self._topics = topics
        self._will = will
        self._on_message = on_message
        self._while_connected = while_connected
        self._happened = happened
        self._changes = changes
        self._rng = rng
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._client: aiomqtt.Client | None = None
        self._session: asyncio.Task[float] | None = None
        self._wanted = True
        self._decisions = 0
        self._connections = 0

    @property
    def is_up(self) -> bool:
        """True while connected with all subscriptions in place."""
        return self._client is not None

    @property
    def connections(self) -> int:
        """How often the link has come up, which tells one connection from the next."""
        return self._connections

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Keep the link up, whenever it is wanted, until cancelled."""
        failures = 0
        while True:
            await self._changes.until(lambda: self._wanted)
            # A task of its own, so that going offline interrupts any part of it: the pause,
            # the connecting, the reading.
            pause = backoff(failures, self._config, self._rng)
            session = tasks.create_task(
                self._connect_once(pause, tasks), name=f"{self._config.gateway} connection"
            )
            self._session = session
            await asyncio.wait({session})
            self._session = None
            if session.cancelled():
                failures = 0
            elif session.exception() is None:
                # Two clients with one identifier throw each other out for ever, so that having
                # been connected is not enough to start the count anew: it must have lasted.
                failures = 1 if session.result() >= self._config.retry_most else failures + 1

    async def go_offline(self) -> None:
        """Leave the broker and stay away; returns when that is done."""
        self._decisions += 1
        if self._wanted:
            self._wanted = False
            self._happened("offline", "left the broker")
        session = self._session
        if session is not None:
            session.cancel()
            await asyncio.wait({session})

    def go_online(self) -> None:
        """Connect again; does not wait for it."""
        self._decisions += 1
        if not self._wanted:
            self._wanted = True
            self._happened("returning", "connects again")
            self._changes.notify()

    async def be_away(self, seconds: float) -> None:
        """Go offline, and online again after a time unless someone has decided otherwise."""
        await self.go_offline()
        decisions = self._decisions
        await asyncio.sleep(seconds)
        if self._decisions == decisions:
            self.go_online()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at least once: what a lost connection swallowed goes out on the next one."""
        while True:
            await self._changes.until(lambda: self._client is not None)
            client = self._client
            if client is None:
                continue
            try:
                await connection.publish(client, topic, payload)
            except aiomqtt.MqttError as error:
                self._happened(
                    "delayed",
                    f"{topic.rpartition('/')[2]}: not taken by the broker ({error}),"
                    " goes out again on the next connection",
                    topic=topic,
                )
                await self._until_replaced(client)
            else:
                return

    async def say(self, topic: str, payload: bytes) -> None:
        """Publish at most once: without a connection, and where it breaks, the message is lost."""
        client = self._client
        if client is not None:
            with suppress(aiomqtt.MqttError):
                await connection.publish(client, topic, payload, qos=0)

    async def _until_replaced(self, client: aiomqtt.Client) -> None:
        await self._changes.until(lambda: self._client is not client)

    async def _connect_once(self, pause: float, tasks: asyncio.TaskGroup) -> float:
        """Connect and serve until the connection ends; return the seconds that it lasted."""
        if pause:
            await asyncio.sleep(pause)
        try:
            try:
                return await self._serve(tasks)
            except aiomqtt.MqttError as error:
                if not mqtt.is_version_refused(error):
                    raise
                self._use_other_protocol()
                return await self._serve(tasks)
        except aiomqtt.MqttError as error:
            if str(error) in ("Operation timed out", mqtt.HUNG_UP):
                # That is how some brokers meet a version that they do not know.
                self._use_other_protocol()
            why = mqtt.reason(error)
            self._happened(
                "unreachable",
                f"cannot reach broker {self._config.broker.url} ({why}), retrying",
                broker=self._config.broker.url,
                reason=why,
            )
            return 0.0

    def _use_other_protocol(self) -> None:
        fives = self._protocol is aiomqtt.ProtocolVersion.V5
        self._protocol = aiomqtt.ProtocolVersion.V311 if fives else aiomqtt.ProtocolVersion.V5

    async def _serve(self, tasks: asyncio.TaskGroup) -> float:
        """Serve one connection; raises if it cannot be set up, returns when it is lost."""
        async with connection.connect(
            self._config.broker,
            identifier=f"dockgate-simulate-{self._config.gateway}",
            protocol=self._protocol,
            keep_session=self._config.keep_session,
            will=self._will,
        ) as client:
            await mqtt.subscribe(client, self._topics)
            speaks = connection.speaks(self._protocol)
            self._happened(
                "connected",
                f"to {self._config.broker.url}, {speaks}",
                broker=self._config.broker.url,
                protocol=speaks,
            )
            began = asyncio.get_running_loop().time()
            self._client = client
            self._connections += 1
            self._changes.notify()
            companion = tasks.create_task(
                _as_coroutine(self._while_connected), name=f"{self._config.gateway} companion"
            )
            try:
                async for message in client.messages:
                    self._on_message(message)
            except aiomqtt.MqttError as error:
                why = mqtt.reason(error)
                self._happened("disconnected", f"from the broker ({why})", reason=why)
            finally:
                self._client = None
                companion.cancel()
                self._changes.notify()
        return asyncio.get_running_loop().time() - began


async def _as_coroutine(start: Callable[[], Awaitable[None]]) -> None:
    await start()
