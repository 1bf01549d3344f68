"""The event loops that the gateway runs on: asyncio's own, and with workers uvloop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import uvloop

Loops = Mapping[str, Callable[[], asyncio.AbstractEventLoop]]

BOTH: Final[Loops] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
