"""A process that speaks gRPC and hands every call on.

The gateway gives it orders over a socket. It ends when the gateway has gone, whatever the reason.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Final

from dockgate_server import logs
from dockgate_server.clock import SystemClock
from dockgate_server.errors import CannotListen
from dockgate_server.loading import all_is_loaded
from dockgate_server.rpc.listening import Listener
from dockgate_server.rpc.workers.channel import Channel, Frame, Kind
from dockgate_server.rpc.workers.forwarding import Forwarding
from dockgate_server.rpc.workers.orders import Orders

IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""The gateway stops its workers when it is stopped itself, and Ctrl-C comes to all at once."""


class Worker:
    """Does what the gateway says."""

    def __init__(self) -> None:
        self._listener: Listener | None = None
        self._forwarding: Forwarding | None = None
        self._steps: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()
        """Nothing is left to do."""
        self.channel = Channel(self._received, self._lost)

    def _received(self, frame: Frame) -> None:
        kind = frame[0]
        if kind == Kind.SERVE:
            self._begin(self._serve(Orders.of(frame[1])))
        elif kind == Kind.STOP:
            self._begin(self._stop(frame[1]))
        elif kind == Kind.ALIVE:
            self.channel.send(Kind.ALIVE)
        elif self._forwarding is not None:
            self._forwarding.answered(frame)

    def _lost(self) -> None:
        """The gateway has gone, and nobody can answer any more.

        At once, so that clients see their connections break, as if that had been the gateway's own
        end, and come again by themselves: gRPC's way to stop would tell them CANCELLED.
        """
        if not self.over.is_set():
            os._exit(1)

    def _begin(self, step: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    async def _serve(self, orders: Orders) -> None:
        logs.configure(*orders.log)
        self._forwarding = Forwarding(self.channel, orders, SystemClock())
        self._listener = Listener(orders.terms)
        self._listener.add(self._forwarding)
        try:
            await self._listener.start()
        except CannotListen as problem:
            self.channel.send(Kind.FAILED, str(problem))
            return
        self._begin(self._watch_over(self._listener))
        all_is_loaded()
        self.channel.send(Kind.SERVING)

    async def _watch_over(self, listener: Listener) -> None:
        try:
            await listener.run()
        finally:
            self.over.set()

    async def _stop(self, seconds: float) -> None:
        if self._listener is not None:
            await self._listener.stop(seconds)
        self.over.set()


async def main(number: int) -> None:
    """Work until all is done, by the orders that come over the open socket of that number."""
    loop = asyncio.get_running_loop()
    for one in IGNORED_SIGNALS:
        loop.add_signal_handler(one, lambda: None)
    # The gateway had them held back, until there was somebody to ignore them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)
    worker = Worker()
    await loop.create_connection(lambda: worker.channel, sock=socket.socket(fileno=number))
    await worker.over.wait()
    worker.channel.close()
