"""The hub: wakes once per commit, keeps no gap, never holds a watcher up."""

import asyncio
import uuid
from collections.abc import Sequence

import pytest

from dockgate_server import hub as hubs
from dockgate_server.hub import Hub, Watcher
from dockgate_server.model.command import Channel, Command, CommandEvent, EventKind, Status, Vendor


def an_event(
    seq: int, revision: int, command_id: str = "c1", *, answer: bytes | None = None
) -> CommandEvent:
    """An event of which only the numbers matter."""
    command = Command(
        seq=1,
        id=command_id,
        tenant="default",
        principal="p",
        vendor=Vendor.DJI,
        device_id="d",
        gateway_id="g",
        channel=Channel.SERVICES,
        command_type="charge_open",
        data=b"null",
        timeout_seconds=30,
        accepted_at=0,
        deadline_at=1,
        job_key=None,
        status=Status.ACCEPTED,
        revision=revision,
        updated_at=0,
        vendor_response=answer,
    )
    return CommandEvent(seq, EventKind.SENDING, 0, command)


@pytest.fixture
def hub() -> Hub:
    """An empty one."""
    return Hub()


def revisions(events: Sequence[CommandEvent] | None) -> list[int] | None:
    """What a watcher of one command would get; None where it must ask the store."""
    return None if events is None else [event.revision for event in events]


def seqs(events: Sequence[CommandEvent] | None) -> list[int] | None:
    """The same for a watcher of all."""
    return None if events is None else [event.seq for event in events]


def is_woken(watcher: Watcher) -> bool:
    """Whether its next wait would end at once."""
    return watcher._woken


async def test_a_watched_commands_events_are_at_hand_from_any_cursor_they_reach(hub: Hub) -> None:
    """Behind the first one that came, everything; before it, the store must be asked."""
    with hub.watch_command("c1"):
        assert hub.events_of_command("c1", 0) is None
        hub.publish([an_event(11, 3), an_event(12, 4)])
        hub.publish([an_event(13, 5)])
        assert revisions(hub.events_of_command("c1", 0)) is None
        assert revisions(hub.events_of_command("c1", 1)) is None
        assert revisions(hub.events_of_command("c1", 2)) == [3, 4, 5]
        assert revisions(hub.events_of_command("c1", 4)) == [5]
        assert revisions(hub.events_of_command("c1", 5)) == []
        # The store may be ahead of what the hub has been told.
        assert revisions(hub.events_of_command("c1", 9)) == []
    assert hub.events_of_command("c1", 2) is None


async def test_a_long_life_is_not_kept_whole(hub: Hub) -> None:
    """A slow watcher reads from the store what has gone; nothing is skipped."""
    with hub.watch_command("c1"):
        count = hubs.TOPIC_EVENTS + 10
        for number in range(1, count + 1):
            hub.publish([an_event(number, number)])
        assert hub.events_of_command("c1", 9) is None
        assert revisions(hub.events_of_command("c1", 10)) == list(range(11, count + 1))


def test_the_tail_serves_cursors_within_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it, the store must be asked; at its end there is nothing yet."""
    monkeypatch.setattr(hubs, "TAIL_EVENTS", 4)
    hub = Hub()
    hub.start_from(100)
    assert hub.newest_seq == 100
    assert seqs(hub.events_behind(100, 10)) == []
    assert hub.events_behind(99, 10) is None
    hub.publish([an_event(101, 1), an_event(102, 2)])
    assert seqs(hub.events_behind(100, 10)) == [101, 102]
    hub.publish([an_event(number, number) for number in range(103, 107)])
    assert hub.newest_seq == 106
    assert hub.events_behind(101, 10) is None
    assert seqs(hub.events_behind(102, 10)) == [103, 104, 105, 106]
    assert seqs(hub.events_behind(103, 2)) == [104, 105]
    assert seqs(hub.events_behind(106, 10)) == []
    assert seqs(hub.events_behind(500, 10)) == []


def test_long_answers_leave_room_for_fewer_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who watch all read the others from the store; short ones have their room again."""
    monkeypatch.setattr(hubs, "TAIL_BYTES", 1000)
    monkeypatch.setattr(hubs, "TAIL_EVENTS", 40)
    hub = Hub()
    for number in range(1, 51):
        hub.publish([an_event(number, number, answer=b"x" * 96)])  # with the command's data, 100
        assert hub._bytes == sum(one.size for one in hub._tail) <= 1000
        assert seqs(hub.events_behind(number - 1, 10)) == [number]
    assert hub.events_behind(39, 10) is None
    assert seqs(hub.events_behind(41, 10)) == [*range(42, 51)]
    for number in range(51, 201):
        hub.publish([an_event(number, number)])
    assert len(hub._tail) >= 40
    assert hub._bytes == sum(one.size for one in hub._tail)
    hub.publish([an_event(201, 201, answer=b"x" * 2000)])
    assert hub.events_behind(200, 10) is None
    assert (hub._tail, hub._bytes) == ([], 0)


async def test_a_long_answer_is_not_kept_for_a_command(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event behind it has it as well. Whoever watches reads from the store, without a gap."""
    monkeypatch.setattr(hubs, "TOPIC_EVENT_BYTES", 100)
    with hub.watch_command("c1") as watcher:
        hub.publish([an_event(1, 1), an_event(2, 2, answer=b"x" * 101)])
        assert hub.events_of_command("c1", 0) is None
        assert hub.events_of_command("c1", 1) is None
        assert await watcher.wait(5)
        hub.publish([an_event(3, 3)])
        assert hub.events_of_command("c1", 1) is None
        assert revisions(hub.events_of_command("c1", 2)) == [3]


async def test_a_commit_wakes_whom_it_concerns_and_nobody_else(hub: Hub) -> None:
    """The watchers of its commands, and those of all."""
    with (
        hub.watch_command("c1") as one,
        hub.watch_command("c1") as two,
        hub.watch_command("c2") as other,
        hub.watch_all() as fleet,
    ):
        hub.publish([an_event(1, 1), an_event(2, 2)])
        await asyncio.sleep(0)
        assert [is_woken(w) for w in (one, two, other, fleet)] == [True, True, False, True]


async def test_many_watchers_are_woken_once_for_each_commit(hub: Hub) -> None:
    """However many events it holds, also of several commands that one of them watches."""
    woken: dict[str, int] = {}

    async def watch(name: str, watcher: Watcher) -> None:
        while not watcher.closed:
            woken[name] = woken.get(name, 0) + await watcher.wait(5)

    with hub.watch_all() as fleet, hub.watch_command("c1") as one:
        tasks = [
            asyncio.create_task(watch("fleet", fleet)),
            asyncio.create_task(watch("one", one)),
        ]
        await asyncio.sleep(0)
        for commit in range(3):
            hub.publish([an_event(commit * 10 + n, commit * 10 + n) for n in range(1, 9)])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        hub.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)
    assert woken == {"fleet": 4, "one": 4}


async def test_what_happens_before_the_wait_ends_it_at_once(hub: Hub) -> None:
    """Between reading and waiting nothing can be missed."""
    with hub.watch_command("c1") as watcher:
        hub.publish([an_event(1, 1)])
        hub.publish([an_event(2, 2)])
        assert await watcher.wait(5)
        assert not await watcher.wait(0.001)


async def test_a_wait_ends_without_news_for_a_sign_of_life(hub: Hub) -> None:
    """And the next one can still be woken."""
    with hub.watch_all() as watcher:
        assert not await watcher.wait(0.001)
        asyncio.get_running_loop().call_soon(hub.publish, [an_event(1, 1)])
        assert await watcher.wait(5)


async def test_a_cancelled_wait_leaves_nothing_behind(hub: Hub) -> None:
    """A caller that goes away in the middle; the next commit meets no dead future."""
    with hub.watch_command("c1") as watcher:
        waiting = asyncio.create_task(watcher.wait(60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,), timeout=5)
        assert waiting.cancelled()
        hub.publish([an_event(1, 1)])
        assert await watcher.wait(5)


async def test_closing_ends_every_wait_and_those_that_still_come(hub: Hub) -> None:
    """Or the servers' stop would wait for them."""
    with hub.watch_command("c1") as one, hub.watch_all() as fleet:
        waits = [asyncio.create_task(w.wait(60)) for w in (one, fleet)]
        await asyncio.sleep(0)
        hub.close()
        async with asyncio.timeout(5):
            assert await asyncio.gather(*waits) == [True, True]
        assert (one.closed, fleet.closed) == (True, True)
    with hub.watch_command("c1") as late, hub.watch_all() as later:
        assert (late.closed, later.closed) == (True, True)
        assert await late.wait(60)
        assert await later.wait(60)


async def test_nothing_is_kept_for_commands_that_nobody_watches(hub: Hub) -> None:
    """A gateway runs for years; a topic goes with the last watcher, not with the first."""
    with hub.watch_command("c1"):
        with hub.watch_command("c1"):
            hub.publish([an_event(1, 1)])
        assert revisions(hub.events_of_command("c1", 0)) == [1]
    for _ in range(10):
        hub.publish([an_event(2, 2, str(uuid.uuid4()))])
    with pytest.raises(RuntimeError), hub.watch_command("c2"):
        raise RuntimeError
    assert hub._topics == {}
    assert hub._fleet == set()
