"""Events with the real server process: killed between storing and answering, it makes up for it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiomqtt
import orjson
import pytest
from support import health
from support.brokers import RunningBroker
from support.server_process import serving

from dockgate_server.rpc.health import DISPATCH

pytestmark = pytest.mark.broker

EVENT = {
    "tid": "T",
    "bid": "B",
    "timestamp": 1,
    "method": "file_upload_callback",
    "need_reply": 1,
    "data": {"file": {"name": "DJI_0001_V.jpg"}},
}

TRAP = """
import os, signal
from dockgate_server.inbound import events
events.answer = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
"""Read by Python itself when it starts: the process dies where it would answer."""


class Dock:
    """Tells events, and hears what it is answered."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._topic = "thing/product/dock-001/events"

    async def listen(self) -> None:
        """From now on."""
        await self._client.subscribe(f"{self._topic}_reply", qos=1)

    async def tell(self, **changed: Any) -> None:
        """Returns when the broker has taken it."""
        await self._client.publish(self._topic, orjson.dumps(EVENT | changed), qos=1)

    async def hear(self) -> str:
        """The tid of the next answer."""
        async with asyncio.timeout(20):
            message = await anext(aiter(self._client.messages))
        return str(orjson.loads(message.payload)["tid"])


def stored(database: Path) -> list[tuple[str, bool]]:
    """Tid of each event, and whether it has been answered."""
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute("SELECT tid, answered_at IS NOT NULL FROM device_event ORDER BY seq")
        return [(tid, bool(answered)) for tid, answered in rows]


async def test_an_event_is_answered_by_the_next_process_and_stored_once(
    mosquitto: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker brings it again, as it was not acknowledged; the device repeats it as well."""
    database = tmp_path / "dockgate.db"
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "sitecustomize.py").write_text(TRAP)
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
        dock = Dock(client)
        await dock.listen()
        with monkeypatch.context() as patched:
            patched.setenv("PYTHONPATH", str(trap))
            async with serving(mosquitto.url, database) as server:
                await health.until(server.channel, DISPATCH)
                await dock.tell()
                async with asyncio.timeout(20):
                    assert await server.process.wait() == -9
        assert stored(database) == [("T", False)]
        await dock.tell()
        async with serving(mosquitto.url, database):
            assert await dock.hear() == "T"
            # What would be answered a second time would be answered before this one.
            await dock.tell()
            await dock.tell(tid="U")
            assert await dock.hear() == "U"
        assert stored(database) == [("T", True), ("U", True)]
