"""Watching over a real connection: nothing missed, nothing twice, ended when it is over."""

import asyncio
from typing import Any

import grpc
import pytest
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_service_pb2 as pb


async def _submitted(stub: Any, key: str = "k1") -> str:
    answer = await stub.SubmitCommand(recording_start(key))
    return str(answer.command.command_id)


async def _revisions(call: Any) -> list[int]:
    return [update.event.revision async for update in call if update.HasField("event")]


@pytest.mark.parametrize("cut", range(5))
async def test_a_watch_cut_at_any_revision_and_resumed_yields_exactly_the_rest(
    stub: Any, core: Core, cut: int
) -> None:
    """Also when the events happen only after the watch was resumed."""
    command_id = await _submitted(stub)
    first = stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id))
    sent = (await core.bridge.wait_published(1))[0]
    if cut > 2:
        sent.acknowledge()
        await _until(core, command_id, 3)
    if cut > 3:
        await core.reply(command_id, {"result": 0})
    seen = []
    while len(seen) < cut:
        seen.append((await first.read()).event.revision)
    first.cancel()

    rest = stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id, after_revision=cut))
    if cut <= 2:
        sent.acknowledge()
    if cut <= 3:
        await _until(core, command_id, 3)
        await core.reply(command_id, {"result": 0})

    assert seen + await _revisions(rest) == [1, 2, 3, 4]


async def _until(core: Core, command_id: str, revision: int) -> None:
    with core.hub.watch_command(command_id) as watcher:
        async with asyncio.timeout(5):
            while True:
                command = await core.store.get_command("default", command_id)
                assert command is not None
                if command.revision >= revision:
                    return
                await watcher.wait(5)


async def test_a_watch_behind_the_newest_event_is_out_of_range(stub: Any) -> None:
    """A cursor from another command or database is a mistake, not an empty watch."""
    command_id = await _submitted(stub)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _revisions(
            stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id, after_revision=99))
        )

    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_a_watch_of_an_ended_command_ends_at_once(stub: Any, core: Core) -> None:
    """Behind its last event there is nothing to wait for."""
    command_id = await _submitted(stub)
    await core.reply(command_id, {"result": 0})
    newest = (await core.store.get_command("default", command_id)).revision  # type: ignore[union-attr]

    watch = stub.WatchCommand(
        pb.WatchCommandRequest(command_id=command_id, after_revision=newest), timeout=5
    )

    assert await _revisions(watch) == []
    assert await watch.code() is grpc.StatusCode.OK


async def test_every_watcher_of_a_command_sees_every_event(stub: Any, core: Core) -> None:
    """However many there are."""
    command_id = await _submitted(stub)
    request = pb.WatchCommandRequest(command_id=command_id)
    watches = [asyncio.ensure_future(_revisions(stub.WatchCommand(request))) for _ in range(50)]
    (await core.bridge.wait_published(1))[0].acknowledge()
    await _until(core, command_id, 3)
    await core.reply(command_id, {"result": 0})

    assert await asyncio.gather(*watches) == [[1, 2, 3, 4]] * 50


async def test_a_fleet_watch_resumed_by_its_token_misses_nothing(stub: Any, core: Core) -> None:
    """The first message is a heartbeat with a token, from which everything later is seen."""
    watch = stub.WatchCommands(pb.WatchCommandsRequest())
    start = await watch.read()
    assert start.HasField("heartbeat")
    watch.cancel()
    ids = [await _submitted(stub, f"k{number}") for number in range(3)]

    resumed = stub.WatchCommands(pb.WatchCommandsRequest(resume_token=start.resume_token))
    seen = []
    while len(seen) < 6:
        update = await resumed.read()
        if update.HasField("event"):
            seen.append((update.event.command.command_id, update.event.revision))
    resumed.cancel()

    assert sorted(seen) == sorted((one, revision) for one in ids for revision in (1, 2))


async def test_a_fleet_watch_shows_only_what_was_asked_for(stub: Any, core: Core) -> None:
    """The filter lets other devices' events pass by."""
    watch = stub.WatchCommands(pb.WatchCommandsRequest(device_id="dock-001"))
    await watch.read()
    await _submitted(stub)
    wanted = await stub.SubmitCommand(recording_start("k2", device_id="dock-001"))

    update = await watch.read()
    watch.cancel()

    assert update.event.command.command_id == wanted.command.command_id


async def test_closing_the_hub_ends_watches_as_unavailable(stub: Any, core: Core) -> None:
    """A stopping gateway tells its watchers to come back, where from."""
    command_id = await _submitted(stub)
    watch = stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id))
    updates = aiter(watch)
    await anext(updates)

    core.hub.close()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [update async for update in updates]
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "behind revision" in (caught.value.details() or "")


async def test_a_watch_resumed_behind_the_end_does_not_begin_anew(stub: Any, core: Core) -> None:
    """A second reply is recorded behind the end; who has seen the end has seen it all."""
    command_id = await _submitted(stub)
    await core.reply(command_id, {"result": 0})
    await core.reply(command_id, {"result": 0})
    command = await core.store.get_command("default", command_id)
    assert command is not None

    end = command.revision - 1
    watch = stub.WatchCommand(pb.WatchCommandRequest(command_id=command_id, after_revision=end))

    assert await _revisions(watch) == []
