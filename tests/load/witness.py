"""The docks and the tap before the broker, in a process of their own: ``python -m load.witness``.

So the work they do takes nothing away from the clients that measure. One client of the broker plays
all docks: it takes what is sent to any of them, and answers for one alone.
"""

import asyncio
import json
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiomqtt
from chaos.tap import Tap

from dockgate_server import mqtt
from load.database import PROBE

_TOLD_EVERY_SECONDS = 0.05


async def run(tap_port: int, broker_port: int) -> dict[str, Any]:
    """Take messages until SIGTERM; answers with what came."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    received: dict[str, list[str]] = defaultdict(list)
    client = aiomqtt.Client(
        "127.0.0.1",
        broker_port,
        protocol=aiomqtt.ProtocolVersion.V5,
        socket_options=mqtt.SOCKET_OPTIONS,
    )
    async with Tap(tap_port, broker_port) as tap, client:
        await client.subscribe("thing/product/+/services", qos=1)
        working = (
            asyncio.create_task(_take(client, received), name="docks"),
            asyncio.create_task(_count(received), name="count"),
        )
        await stop.wait()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    return {
        "received": received,
        "most_in_flight": tap.most_in_flight,
        "problems": tap.problems,
    }


async def _take(client: aiomqtt.Client, received: dict[str, list[str]]) -> None:
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        gateway_id = message.topic.value.split("/")[2]
        content = json.loads(message.payload)
        if gateway_id == PROBE:
            await _answer(client, content)
        else:
            received[gateway_id].append(content["tid"])


async def _answer(client: aiomqtt.Client, content: dict[str, Any]) -> None:
    now = time.time_ns() // 1_000_000
    answer = content | {"data": {"result": 0}, "timestamp": now}
    topic = f"thing/product/{PROBE}/services_reply"
    await client.publish(topic, json.dumps(answer), qos=1)


async def _count(received: dict[str, list[str]]) -> None:
    """Tell how many have been taken: the first time means that the docks are there."""
    while True:
        sys.stdout.write(f"{sum(map(len, received.values()))}\n")
        sys.stdout.flush()
        await asyncio.sleep(_TOLD_EVERY_SECONDS)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    record = asyncio.run(run(told["tap_port"], told["broker_port"]))
    Path(told["file"]).write_text(json.dumps(record))
