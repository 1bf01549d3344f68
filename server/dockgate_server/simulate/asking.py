"""The requests of a dock: asked of the cloud, and asked again until it has answered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.link import Happened, Link
from dockgate_server.simulate.records import Received


class Requests:
    """Asks the cloud for things. An answer is told from others by its tid."""

    def __init__(
        self, config: DockConfig, *, link: Link, happened: Happened, now_ms: Callable[[], int]
    ) -> None:
        """Take what is needed to ask."""
        self._config = config
        self._link = link
        self._happened = happened
        self._now_ms = now_ms
        self._open: dict[str, tuple[str, asyncio.Future[Any]]] = {}

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The methods of the requests that wait for the cloud's answer."""
        return tuple(method for method, _ in self._open.values())

    async def ask(self, method: str, data: Any) -> Any:
        """Ask, again and again with the same tid, and return the `data` of the answer.

        It ends only with an answer: who has less patience cancels it.
        """
        tid = str(uuid.uuid4())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open[tid] = (method, answer)
        message = {
            "tid": tid,
            "bid": str(uuid.uuid4()),
            "timestamp": self._now_ms(),
            "gateway": self._config.gateway,
            "method": method,
            "data": data,
        }
        try:
            again = ""
            while not answer.done():
                self._happened("asked", f"{method} tid {tid}{again}", tid=tid, method=method)
                again = ", again"
                await self._link.publish(
                    f"thing/product/{self._config.gateway}/requests", orjson.dumps(message)
                )
                await asyncio.wait({answer}, timeout=self._config.ask_every)
            return answer.result()
        finally:
            del self._open[tid]

    def hear(self, received: Received) -> None:
        """Take the cloud's answer to a request.

        Raises:
            ValueError: nothing was asked to which this could be the answer.
        """
        method, answer = self._open.get(received.tid or "", (None, None))
        if method is None or answer is None or answer.done():
            raise ValueError(f"no request with tid {received.tid} waits for an answer")
        if received.method != method:
            raise ValueError(f"the request with tid {received.tid} was {method}")
        # Only the result is told: the rest can hold keys, licences and credentials.
        result = received.data.get("result") if isinstance(received.data, dict) else None
        self._happened(
            "told",
            f"{method} tid {received.tid}" + ("" if result is None else f" result {result}"),
            tid=received.tid,
            method=method,
            result=result,
        )
        answer.set_result(received.data)
