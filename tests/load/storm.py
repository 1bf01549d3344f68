"""Docks that tell very much, in a process of their own: ``python -m load.storm``.

Each dock has a connection of its own and speaks just enough MQTT 3.1.1: a library would cost more
than the gateway that is measured. Like real docks they repeat what is not answered, after 4 and
8 s. One more dock takes commands and answers them at once.
"""

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from dockgate_server.simulate.notices import notice
from load.database import PROBE, gateway

TICK_SECONDS: Final = 0.02
_REPEAT_SECONDS: Final = (4.0, 8.0)
_PATIENCE_SECONDS: Final = 20.0
_PROGRESS_EVERY: Final = 20
"""Every so many events one is of a job that no command has started."""

_CONNECT, _PUBLISH, _PUBACK, _SUBSCRIBE = 0x10, 0x30, 0x40, 0x82
_QOS_1: Final = 0x02


@dataclass(slots=True)
class Told:
    """What the docks told, and what they were answered."""

    events: int = 0
    asking: int = 0
    """Of these, how many ask for an answer."""
    messages: int = 0
    """Copies and repetitions included."""
    repeated: int = 0
    """Repetitions for want of an answer."""
    answers: int = 0
    answered_twice: int = 0
    unanswered: int = 0
    unknown_answers: int = 0
    seconds: float = 0.0
    """From the first event to the last."""
    answer_seconds: list[float] = field(default_factory=list)
    """From an event's first copy to its answer."""


class Dock(asyncio.Protocol):
    """One connection.

    Args:
        name: The dock's serial number.
        receives: The last part of the topic that it listens to.
        on_message: Is given each message's payload.
        client_id: What the broker knows it by; after its name by default.
    """

    def __init__(self, name: str, receives: str, on_message: Any, client_id: str = "") -> None:
        self.name = name
        self._client_id = client_id or f"storm-{name}"
        self._receives = receives
        self._on_message = on_message
        self._buffer = bytearray()
        self._number = 0
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self.ready = self._loop.create_future()

    def connection_made(self, transport: Any) -> None:
        """Say who this is, and to what it listens."""
        self._transport = transport
        body = _text("MQTT") + b"\x04\x02" + (60).to_bytes(2, "big") + _text(self._client_id)
        topic = f"thing/product/{self.name}/{self._receives}"
        subscription = (1).to_bytes(2, "big") + _text(topic) + b"\x01"
        transport.write(_packet(_CONNECT, body) + _packet(_SUBSCRIBE, subscription))

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message to the broker, QoS 1."""
        self._number = self._number % 65_535 + 1
        body = _text(f"thing/product/{self.name}/{topic}") + self._number.to_bytes(2, "big")
        self._send(_packet(_PUBLISH | _QOS_1, body + payload))

    def data_received(self, data: bytes) -> None:
        """Take what came apart into packets."""
        self._buffer += data
        for first, body in _packets(self._buffer):
            if first & 0xF0 == _PUBLISH:
                place = 2 + int.from_bytes(body[:2], "big")
                if first & _QOS_1:
                    self._send(_packet(_PUBACK, body[place : place + 2]))
                    place += 2
                self._on_message(self, body[place:])
            elif first & 0xF0 == _SUBSCRIBE & 0xF0 | 0x10:
                self.ready.set_result(None)

    def close(self) -> None:
        """End it."""
        self._flush()
        self._transport.close()

    def _send(self, packet: bytes) -> None:
        """With all others of this turn of the loop: what measures is to cost little itself."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packet)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()


class Storm:
    """Has the docks tell events, and keeps the books.

    Args:
        docks: Who tells.
        rate: Events a second, of all together.
        copies: How often each one that asks for an answer goes out at once.
    """

    def __init__(self, docks: int, rate: float, copies: int) -> None:
        self._rate = rate
        self._copies = copies
        self._count = docks
        self._docks: list[Dock] = []
        self._waiting: dict[str, tuple[float, Dock, bytes]] = {}
        self._answers: Counter[str] = Counter()
        self._all_answered = asyncio.Event()
        self.told = Told()

    async def connect(self, port: int) -> None:
        """Bring all docks to the broker."""
        self._docks = [
            await _connected(port, gateway(number), "events_reply", self._answered)
            for number in range(self._count)
        ]

    async def run(self, seconds: float) -> None:
        """Tell events for so long, then wait until all that ask have been answered."""
        repeating = asyncio.create_task(self._repeat())
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            while self.told.events < passed * self._rate:
                self._tell(self._docks[self.told.events % self._count])
            await asyncio.sleep(TICK_SECONDS)
        self.told.seconds = time.monotonic() - began
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._all_answered.wait()
        await asyncio.sleep(0.5)  # a second answer would be just behind the first
        repeating.cancel()
        self.told.unanswered = len(self._waiting)
        self.told.answered_twice = sum(count > 1 for count in self._answers.values())
        for dock in self._docks:
            dock.close()

    def _tell(self, dock: Dock) -> None:
        number = self.told.events
        tid = str(uuid.uuid4())
        if number % _PROGRESS_EVERY:
            said = notice(number, drone=f"drone-of-{dock.name}")
            method, data, asks = said.method, said.data, said.need_reply == 1
        else:
            method, asks = "flighttask_progress", True
            data = {"result": 0, "output": {"status": "in_progress", "progress": {"percent": 40}}}
        members = {"tid": tid, "bid": tid, "timestamp": 1, "method": method, "data": data}
        payload = orjson.dumps(members | {"need_reply": int(asks)})
        self.told.events += 1
        copies = 1
        if asks:
            self.told.asking += 1
            self._waiting[tid] = (time.monotonic(), dock, payload)
            self._all_answered.clear()
            copies = self._copies
        for _ in range(copies):
            dock.publish("events", payload)
        self.told.messages += copies

    def _answered(self, dock: Dock, payload: bytes) -> None:
        tid = orjson.loads(payload)["tid"]
        self.told.answers += 1
        self._answers[tid] += 1
        waiting = self._waiting.pop(tid, None)
        if not self._waiting:
            self._all_answered.set()
        if waiting is not None:
            self.told.answer_seconds.append(time.monotonic() - waiting[0])
        elif self._answers[tid] == 1:
            self.told.unknown_answers += 1

    async def _repeat(self) -> None:
        repeated: Counter[str] = Counter()
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            for tid, (at, dock, payload) in self._waiting.items():
                times = repeated[tid]
                if times < len(_REPEAT_SECONDS) and now > at + sum(_REPEAT_SECONDS[: times + 1]):
                    repeated[tid] += 1
                    self.told.repeated += 1
                    self.told.messages += 1
                    dock.publish("events", payload)


async def _connected(port: int, name: str, receives: str, on_message: Any) -> Dock:
    loop = asyncio.get_running_loop()
    _, dock = await loop.create_connection(
        lambda: Dock(name, receives, on_message), "127.0.0.1", port
    )
    await dock.ready
    return dock


def _obey(dock: Dock, payload: bytes) -> None:
    command = orjson.loads(payload)
    dock.publish("services_reply", orjson.dumps(command | {"data": {"result": 0}}))


def _text(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def _packet(first: int, body: bytes) -> bytes:
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length.append(digit | 0x80 if rest else digit)
        if not rest:
            return bytes((first,)) + bytes(length) + body


def _packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """The whole packets at the front of a buffer, which are taken out of it."""
    at = 0
    while len(buffer) >= at + 2:
        length = shift = 0
        place = at + 1
        while place < len(buffer):
            length |= (buffer[place] & 0x7F) << shift
            shift += 7
            place += 1
            if buffer[place - 1] < 0x80:
                break
        else:
            break
        if len(buffer) < place + length:
            break
        yield buffer[at], bytes(buffer[place : place + length])
        at = place + length
    del buffer[:at]


async def main(told: dict[str, Any]) -> Told:
    """Connect, say so, storm when told to by a line on standard input, and give the books."""
    port = told["port"]
    await _connected(port, PROBE, "services", _obey)
    storm = Storm(told["docks"], told["rate"], told["copies"])
    await storm.connect(port)
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    await storm.run(told["seconds"])
    sys.stdout.write("done\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    return storm.told


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    Path(asked["file"]).write_text(json.dumps(asdict(asyncio.run(main(asked)))))
