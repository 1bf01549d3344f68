"""Waiting for the request of a call."""

import asyncio
from typing import Any

import pytest
from support.clock import ManualClock

from dockgate_server.rpc.arrival import Arrival, TooSlow

SECONDS = 30.0


class Silent:
    """A call whose request does not come."""

    async def read(self) -> bytes:
        """Wait."""
        await asyncio.Event().wait()
        raise AssertionError("it waits")


async def waiting(clock: ManualClock) -> "asyncio.Task[Any]":
    """A call that waits for its request."""
    context: Any = Silent()
    task = asyncio.create_task(Arrival(clock, SECONDS).next(context))
    await asyncio.sleep(0)
    return task


async def test_who_goes_when_he_is_given_up_has_gone() -> None:
    """Both at one moment: nobody is there to be told, and the task must end as cancelled."""
    clock = ManualClock()
    task = await waiting(clock)
    clock.advance(SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_task_that_was_given_up_goes_on_as_if_it_had_never_been_cancelled() -> None:
    """It has to tell its client."""
    clock = ManualClock()
    task = await waiting(clock)
    clock.advance(SECONDS)
    with pytest.raises(TooSlow):
        await task
    assert task.cancelling() == 0
