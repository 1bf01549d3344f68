"""Waiting for what goes on by itself."""

import asyncio

import pytest

from dockgate_server.shielding import shielded


async def test_who_waits_hears_what_became_of_it() -> None:
    """Whatever that is."""
    loop = asyncio.get_running_loop()
    done, failed, cancelled = (loop.create_future() for _ in range(3))
    waiting = [shielded(one) for one in (done, failed, cancelled)]
    done.set_result("answer")
    failed.set_exception(ValueError("why"))
    cancelled.cancel()
    assert await waiting[0] == "answer"
    with pytest.raises(ValueError, match="why"):
        await waiting[1]
    with pytest.raises(asyncio.CancelledError):
        await waiting[2]


@pytest.mark.parametrize("fails", [False, True])
async def test_who_goes_away_takes_nothing_along(fails: bool) -> None:
    """And it may even fail then without a word from asyncio that nobody has looked."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, what: complaints.append(what))
    future: asyncio.Future[str] = loop.create_future()
    waiting = shielded(future)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not future.cancelled()
    if fails:
        future.set_exception(ValueError("why"))
    else:
        future.set_result("answer")
    await asyncio.sleep(0)
    del future
    assert complaints == []
