"""When a worker's process ends."""

import os

import pytest

from dockgate_server.rpc.workers.worker import Worker


@pytest.mark.parametrize(("is_over", "ends"), [(False, [1]), (True, [])])
async def test_a_worker_ends_at_once_when_its_gateway_has_gone(
    monkeypatch: pytest.MonkeyPatch, is_over: bool, ends: list[int]
) -> None:
    """But not when it has been told to stop: then it is ending in good order."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    worker = Worker()
    if is_over:
        worker.over.set()
    worker.channel.connection_lost(None)
    assert ended == ends
