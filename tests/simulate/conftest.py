"""Brokers of their own for the tests of the simulated dock, and a cloud for it to talk to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from dockgate_server.simulate import Broker, DockConfig

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
NATS = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which(
    "nats-server"
)
LIMIT = 10.0
ENDS = ("services_reply", "set_reply", "up", "events", "requests", "osd", "state", "status", "will")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class BrokerProcess:
    """A broker that can be started, killed and started again on the same port."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.address = Broker(port=self.port, timeout=LIMIT)
        five, three = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
        self.version = five if kind == "mosquitto" else three
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *lines: str) -> None:
        """Start it, with more lines of configuration (mosquitto's), and wait until it listens."""
        config = self._folder / f"{self.kind}-{self.port}.conf"
        if self.kind == "mosquitto":
            config.write_text(
                "\n".join([f"listener {self.port} 127.0.0.1", "set_tcp_nodelay true", *lines])
                + ("" if "allow_anonymous false" in lines else "\nallow_anonymous true")
                # Started by root it would change to a user who may not read the test's files.
                + ("\nuser root\n" if os.geteuid() == 0 else "\n")
            )
            arguments = [str(MOSQUITTO), "-c", str(config)]
        else:
            config.write_text(
                f'server_name: sim\nlisten: "127.0.0.1:-1"\n'
                f'jetstream {{ store_dir: "{self._folder / "js"}" }}\n'
                # What went to a client that was just leaving comes again after this, not at once.
                f'mqtt {{ host: 127.0.0.1, port: {self.port}, ack_wait: "500ms" }}\n'
            )
            arguments = [str(NATS), "-c", str(config)]
        self._process = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + LIMIT
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self._process.poll() is None, f"{self.kind} did not start"
            assert time.monotonic() < deadline, f"{self.kind} does not listen"
            time.sleep(0.01)  # another process; it gives no signal

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT)
            self._process = None


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(
            "mosquitto", marks=pytest.mark.skipif(not MOSQUITTO, reason="no mosquitto here")
        ),
        pytest.param("nats", marks=pytest.mark.skipif(not NATS, reason="no nats-server here")),
    ],
)
def sim_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """A running broker, of each kind that is installed."""
    broker = BrokerProcess(request.param, tmp_path_factory.mktemp(request.param))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A mosquitto that the test may start and kill as it likes; not started yet."""
    if not MOSQUITTO:
        pytest.skip("no mosquitto here")
    broker = BrokerProcess("mosquitto", tmp_path)
    yield broker
    broker.stop()


class Cloud:
    """The other side, in raw MQTT: sends commands, keeps what a dock says."""

    def __init__(self, client: aiomqtt.Client, gateway: str, *, mqtt5: bool) -> None:
        self.client = client
        self.gateway = gateway
        self.answers_topology = True
        self.answers_events = False
        self.answers: dict[str, Any] = {}
        self._mqtt5 = mqtt5
        self._said: dict[str, asyncio.Queue[bytes]] = {end: asyncio.Queue() for end in ENDS}

    async def listen(self) -> None:
        await self.client.subscribe(
            [
                (f"thing/product/{self.gateway}/services_reply", 1),
                (f"thing/product/{self.gateway}/property/set_reply", 1),
                (f"thing/product/{self.gateway}/drc/up", 1),
                (f"thing/product/{self.gateway}/events", 1),
                (f"thing/product/{self.gateway}/requests", 1),
                (f"sys/product/{self.gateway}/status", 1),
            ]
        )

    async def read(self) -> None:
        async for message in self.client.messages:
            end = str(message.topic).rpartition("/")[2]
            if end == "status":
                said = json.loads(message.payload)
                end = "status" if "tid" in said else "will"
                if end == "status" and self.answers_topology:
                    await self.acknowledge(said, "sys", "status_reply")
            if end == "events" and self.answers_events:
                event = json.loads(message.payload)
                if event.get("need_reply") == 1:
                    await self.acknowledge(event, "thing", "events_reply")
            if end == "requests":
                request = json.loads(message.payload)
                if request["method"] in self.answers:
                    await self.answer(request, self.answers[request["method"]])
            self._said[end].put_nowait(bytes(message.payload))

    async def acknowledge(self, message: dict[str, Any], root: str, end: str) -> None:
        await self._reply(message, f"{root}/product/{self.gateway}/{end}", {"result": 0})

    async def answer(self, request: dict[str, Any], data: Any) -> None:
        await self._reply(request, f"thing/product/{self.gateway}/requests_reply", data)

    async def _reply(self, message: dict[str, Any], topic: str, data: Any) -> None:
        same = {name: message[name] for name in ("tid", "bid", "method")}
        await self.publish(topic, json.dumps({**same, "timestamp": 1, "data": data}).encode())

    async def publish(
        self, topic: str, payload: bytes, expiry: int | None = None, qos: int = 1
    ) -> None:
        properties = None
        if expiry is not None and self._mqtt5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = expiry
        await self.client.publish(topic, payload, qos=qos, properties=properties)
        # Before Python 3.12 a cancellation gets lost in there if the answer comes with it.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    async def send(
        self,
        method: str,
        data: Any = None,
        *,
        tid: str | None = None,
        bid: str | None = None,
        expiry: int | None = None,
    ) -> dict[str, Any]:
        message = {
            "tid": tid or str(uuid.uuid4()),
            "bid": bid or str(uuid.uuid4()),
            "timestamp": 1700000000000,
            "method": method,
            "data": data,
        }
        topic = f"thing/product/{self.gateway}/services"
        await self.publish(topic, json.dumps(message).encode(), expiry)
        return message

    async def set(self, data: Any, *, tid: str | None = None) -> dict[str, Any]:
        message = {
            "tid": tid or str(uuid.uuid4()),
            "bid": str(uuid.uuid4()),
            "timestamp": 1700000000000,
            "data": data,
        }
        topic = f"thing/product/{self.gateway}/property/set"
        await self.publish(topic, json.dumps(message).encode())
        return message

    async def steer(
        self, method: str, seq: int | None = None, data: Any = None, qos: int = 1
    ) -> None:
        message = {"method": method, "seq": seq, "data": data}
        if seq is None:
            del message["seq"]
        topic = f"thing/product/{self.gateway}/drc/down"
        await self.publish(topic, json.dumps(message).encode(), qos=qos)

    async def raw(self, end: str) -> bytes:
        async with asyncio.timeout(LIMIT):
            return await self._said[end].get()

    def has_more(self, end: str) -> bool:
        return not self._said[end].empty()

    async def reply(self) -> dict[str, Any]:
        return json.loads(await self.raw("services_reply"))

    async def said(self, end: str) -> dict[str, Any]:
        return json.loads(await self.raw(end))

    async def event(self) -> dict[str, Any]:
        return json.loads(await self.raw("events"))

    async def job(self, statuses: set[str]) -> list[dict[str, Any]]:
        """Take events until one has one of these statuses."""
        events = []
        while True:
            events.append(await self.event())
            data = events[-1]["data"]
            if data.get("output", data).get("status") in statuses:
                return events


Clouds = Callable[..., contextlib.AbstractAsyncContextManager[Cloud]]


@contextlib.asynccontextmanager
async def cloud_on(broker: BrokerProcess, gateway: str) -> AsyncIterator[Cloud]:
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        protocol=broker.version,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    ) as client:
        cloud = Cloud(client, gateway, mqtt5=broker.version is aiomqtt.ProtocolVersion.V5)
        await cloud.listen()
        reading = asyncio.create_task(cloud.read())
        try:
            yield cloud
        finally:
            reading.cancel()
            await asyncio.wait({reading})


@pytest.fixture
def connect_cloud() -> Clouds:
    """Opens a cloud on a broker, for tests that start the broker themselves."""
    return cloud_on


@pytest.fixture
def config(sim_broker: BrokerProcess) -> DockConfig:
    """A dock of its own for each test, which never makes it wait."""
    return quick(sim_broker)


def quick(broker: BrokerProcess, **changes: Any) -> DockConfig:
    serial = uuid.uuid4().hex[:12]
    settings: dict[str, Any] = {
        "broker": broker.address,
        "gateway": f"dock-{serial}",
        "drone": f"drone-{serial}",
        "answer_after": 0.0,
        "step_every": 0.0,
        "announce_every": LIMIT,
        "event_repeats": (LIMIT,),
        "retry_first": 0.01,
        "retry_most": 0.05,
    }
    return DockConfig(**settings | changes)


@pytest.fixture
def quick_config() -> Callable[..., DockConfig]:
    """Makes a configuration for a broker that the test starts itself."""
    return quick


@pytest.fixture
async def cloud(sim_broker: BrokerProcess, config: DockConfig) -> AsyncIterator[Cloud]:
    """A cloud that listens to the dock of `config`."""
    async with cloud_on(sim_broker, config.gateway) as one:
        yield one


class _JumpingSelector(selectors.DefaultSelector):
    """Lets the time pass that it was to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout else timeout)
        if not ready and timeout:
            self.now += timeout
        return ready


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


@pytest.fixture
def in_no_time() -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a coroutine on a loop whose clock jumps to the next thing to do; it starts at 0."""

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
            runner.run(coroutine)

    return run


class FakeLink:
    """A link that is up, and keeps what was said with the time on the loop's clock."""

    def __init__(self) -> None:
        self.is_up = True
        self.connections = 1
        self.said: list[tuple[float, str, dict[str, Any]]] = []

    async def publish(self, topic: str, payload: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self.said.append((now, topic.rpartition("/")[2], json.loads(payload)))

    async def say(self, topic: str, payload: bytes) -> None:
        await self.publish(topic, payload)

    def times(self, method: str) -> list[float]:
        return [round(at, 3) for at, _, said in self.said if said["method"] == method]


@pytest.fixture
def link() -> FakeLink:
    """For parts of a dock on their own, without a broker."""
    return FakeLink()
