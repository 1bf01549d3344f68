"""What a dock asks the cloud before a drone takes off, and how long it waits for the answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dockgate_server.simulate.asking import Requests
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.link import Happened


async def ask_before(
    flight_id: str, *, requests: Requests, config: DockConfig, happened: Happened
) -> None:
    """Ask for flight areas, map, wayline and storage; return with the answers, or after a while.

    A drone takes off without them all the same, but a real dock waits 40 s first.
    """
    wanted = (
        ("flight_areas_get", None),
        ("offline_map_get", None),
        ("flighttask_resource_get", {"flight_id": flight_id}),
        ("storage_config_get", {"module": 0}),
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    missing = {method for method, _ in wanted}

    async def ask(method: str, data: object) -> None:
        await requests.ask(method, data)
        missing.discard(method)

    with suppress(TimeoutError):
        async with asyncio.timeout(config.takeoff_wait), asyncio.TaskGroup() as asking:
            for method, data in wanted:
                asking.create_task(ask(method, data), name=f"{config.gateway} {method}")
    seconds = loop.time() - began
    without = f" without {', '.join(sorted(missing))}" if missing else ""
    happened(
        "cleared",
        f"flight {flight_id} takes off after {seconds:.2f} s{without}",
        flight_id=flight_id,
        seconds=round(seconds, 3),
        missing=sorted(missing),
    )
