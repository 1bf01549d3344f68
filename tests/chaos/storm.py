"""The storm: the server killed at random moments, and the broker restarted now and then."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from chaos.processes import Broker, Server

_EARLY = 0.25
"""How many of the kills come while the server starts or recovers."""
_STARTING_SECONDS = 0.5
_SERVING_SECONDS = 1.5
_BEFORE_RESTART_SECONDS = 1.0
_BROKER_AWAY_SECONDS = 0.5


class Storm:
    """Kills and restarts, as often as told, at moments drawn from a seeded generator.

    Args:
        server: Is killed by SIGKILL and started again at once.
        broker: Is restarted, every other time politely.
        rng: Draws the moments.
        kills: How often the server is killed.
        broker_restarts: How often the broker is restarted, spread over the kills.
        on_kill: Is called after each kill.
    """

    def __init__(
        self,
        server: Server,
        broker: Broker,
        rng: random.Random,
        kills: int,
        broker_restarts: int,
        on_kill: Callable[[], None],
    ) -> None:
        self.kills = 0
        self.polite_restarts = 0
        self.hard_restarts = 0
        self._server = server
        self._broker = broker
        self._rng = rng
        self._kills = kills
        self._broker_restarts = broker_restarts
        self._on_kill = on_kill

    @property
    def broker_restarts(self) -> int:
        """How often the broker was restarted."""
        return self.polite_restarts + self.hard_restarts

    async def run(self) -> None:
        """Rage, and leave everything running."""
        restarts = self._broker_restarts
        due = Counter(number * self._kills // restarts for number in range(restarts))
        was_early = False
        for number in range(self._kills):
            # Never two in a row: deadlines that pass meanwhile wait for a server that gets to
            # serve, and how long that takes is not what is tested.
            is_early = not was_early and self._rng.random() < _EARLY
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._restart_broker(due[number]), name="broker-restarts")
                await self._kill_server(is_early)
            was_early = is_early
        await self._server.until_ready()

    async def _kill_server(self, is_early: bool) -> None:
        if not is_early:
            await self._server.until_ready()
        longest = _STARTING_SECONDS if is_early else _SERVING_SECONDS
        await asyncio.sleep(self._rng.uniform(0, longest))
        await self._server.kill()
        await self._server.start()
        self.kills += 1
        self._on_kill()

    async def _restart_broker(self, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(self._rng.uniform(0, _BEFORE_RESTART_SECONDS))
            if self.broker_restarts % 2:
                await self._broker.kill()
                self.hard_restarts += 1
            else:
                await self._broker.stop()
                self.polite_restarts += 1
            await asyncio.sleep(self._rng.uniform(0, _BROKER_AWAY_SECONDS))
            await self._broker.start()
