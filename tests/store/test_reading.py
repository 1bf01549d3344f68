"""Commands, lists and events as they are read back; other tenants see nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from support.records import NOW, a_job, a_reply, an_accept, in_status, ledger

from dockgate_server.model.command import CommandEvent, CommandFilter, Status
from dockgate_server.model.device import Device, Topology
from dockgate_server.model.transitions import RecordJob, RecordReply, Unmatched
from dockgate_server.store.interface import Credential
from dockgate_server.store.sqlite import SqliteStore
from dockgate_server.store.sqlite import database as database_module
from dockgate_server.store.sqlite.database import LARGEST_PAGE
from dockgate_server.store.sqlite.queries import COMMANDS


async def test_another_tenants_command_does_not_exist(store: SqliteStore) -> None:
    """Not by id, not in a list, not its events."""
    mine = await in_status(store, Status.SUCCEEDED)
    yours = await in_status(store, Status.SUCCEEDED, tenant="other")
    assert await store.get_command("other", mine.id) is None
    assert await store.events_of_command("other", mine.id, 0, 10) == []
    page = await store.list_commands("other", CommandFilter(), None, 10)
    assert [command.id for command in page.commands] == [yours.id]
    by_device = await store.list_commands("other", CommandFilter("drone-001"), None, 10)
    assert by_device == page


async def test_a_list_is_walked_page_by_page_newest_first(store: SqliteStore) -> None:
    """Commands that are accepted meanwhile neither repeat nor hide one."""
    ids = [(await store.accept(an_accept(str(n)))).command.id for n in range(7)]
    seen: list[str] = []
    before = None
    for size in (3, 3, 1):
        page = await store.list_commands("default", CommandFilter(), before, 3)
        assert len(page.commands) == size
        seen += [command.id for command in page.commands]
        before = page.next_before
        await store.accept(an_accept())
    assert seen == ids[::-1]
    assert before is None


async def test_a_full_last_page_has_no_next_one(store: SqliteStore) -> None:
    """The end is known without another call."""
    for _ in range(4):
        await store.accept(an_accept())
    page = await store.list_commands("default", CommandFilter(), None, 2)
    assert page.next_before == page.commands[-1].seq
    last = await store.list_commands("default", CommandFilter(), page.next_before, 2)
    assert (len(last.commands), last.next_before) == (2, None)
    empty = await store.list_commands("nobody", CommandFilter(), None, 2)
    assert (empty.commands, empty.next_before) == ((), None)


@pytest.mark.parametrize(
    "which",
    [
        CommandFilter(),
        CommandFilter("drone-001"),
        CommandFilter("drone-002"),
        CommandFilter(command_type="charge_open"),
        CommandFilter("drone-001", "charge_open"),
        CommandFilter(statuses=(Status.ACCEPTED,)),
        CommandFilter("drone-002", "charge_open", (Status.ACCEPTED, Status.SUCCEEDED)),
        CommandFilter("", "flight_setup_abort", (Status.FAILED,)),
        CommandFilter("drone-001", "charge_open", (Status.DELIVERED, Status.ACCEPTED)),
    ],
)
async def test_a_filter_means_the_same_in_the_database_and_in_memory(
    store: SqliteStore, which: CommandFilter
) -> None:
    """Lists use the one, watches the other."""
    for device in ("drone-001", "drone-002"):
        for command_type in ("charge_open", "flight_setup_abort"):
            for status in (Status.ACCEPTED, Status.SUCCEEDED, Status.FAILED):
                await in_status(store, status, device_id=device, command_type=command_type)
    everything = await store.list_commands("default", CommandFilter(), None, 100)
    found = await store.list_commands("default", which, None, 100)
    assert found.commands == tuple(c for c in everything.commands if which.matches(c))
    assert len(found.commands) > 0


@pytest.mark.parametrize("device_id", ["", "drone-001"])
async def test_only_open_ones_are_found_without_a_look_at_the_others(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, device_id: str
) -> None:
    """Of all targets and of some, page by page."""
    wanted = []
    for gateway, device in (("dock-001", "drone-001"), ("dock-002", "drone-001"), ("d", "e")) * 2:
        to = {"gateway_id": gateway, "device_id": device}
        wanted.append(await in_status(store, Status.DELIVERED, **to))
        for other in (Status.ACCEPTED, Status.SUCCEEDED):
            await in_status(store, other, **to)
        await in_status(store, Status.DELIVERED, tenant="other", **to)
    which = CommandFilter(device_id, statuses=(Status.DELIVERED,))
    for query in ("list_commands", "list_commands_of_device", "list_commands_among"):
        monkeypatch.delitem(COMMANDS, query)
    for among in (None, [("dock-001", "drone-001"), ("d", "e")], [("dock-002", "drone-001")], []):
        page = await store.list_commands("default", which, None, 2, among)
        found = [*page.commands]
        while page.next_before is not None:
            page = await store.list_commands("default", which, page.next_before, 2, among)
            found += page.commands
        assert found == [
            one
            for one in reversed(wanted)
            if which.matches(one) and (among is None or (one.gateway_id, one.device_id) in among)
        ]


async def test_events_read_later_are_those_that_the_commits_told(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """Field by field: an old event shows the command as it was then."""
    command = await in_status(store, Status.DELIVERED, job_key="J", command_type="charge_open")
    data = {"result": 0, "output": {"status": "sent"}, "big": 2**64 - 1, "half": 0.5}
    await store.apply(RecordReply(a_reply(command.id, data)))
    await store.apply(RecordReply(a_reply(command.id, {"result": 3})))
    await store.apply(RecordJob("dock-001", ("charge_open",), "J", a_job(percent=3, step="s")))
    assert await store.events_of_command("default", command.id, 0, 100) == told
    assert await store.events_of_command("default", command.id, 2, 2) == told[2:4]
    assert await store.events_of_all_commands(0, 100) == told
    assert await store.events_of_all_commands(told[3].seq, 2) == told[4:6]
    assert await store.newest_event_seq() == told[-1].seq


async def test_an_empty_store_has_no_events(store: SqliteStore) -> None:
    """Nothing is nothing, not an error."""
    assert await store.newest_event_seq() == 0
    assert await store.events_of_all_commands(0, 10) == []
    assert await ledger(store) == []


async def test_events_of_all_tenants_stand_in_the_order_of_recording(
    store: SqliteStore, told: list[CommandEvent]
) -> None:
    """The seq is the cursor of a fleet watch: unique, rising, never used again."""
    await asyncio.gather(
        *(store.accept(an_accept(tenant=f"t{n % 3}", sending=n % 2 == 0)) for n in range(30))
    )
    seqs = [event.seq for event in told]
    assert seqs == sorted(set(seqs))
    assert await store.events_of_all_commands(0, 1000) == told


async def test_open_commands_come_in_the_order_accepted_in_chunks(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended ones are left out, of every tenant."""
    monkeypatch.setattr("dockgate_server.store.sqlite.store._RECOVERY_CHUNK", 2)
    wanted = []
    for number in range(3):
        wanted.append(await in_status(store, Status.ACCEPTED, tenant=f"t{number}"))
        await in_status(store, Status.SUCCEEDED)
        wanted.append(await in_status(store, Status.DELIVERED))
        await in_status(store, Status.TIMED_OUT)
    chunks = [chunk async for chunk in store.open_commands()]
    assert [len(chunk) for chunk in chunks] == [2, 2, 2]
    assert [command for chunk in chunks for command in chunk] == wanted


async def test_everything_survives_closing_and_opening(database: Path) -> None:
    """Commands, events, the ledger; numbers go on where they were."""
    async with SqliteStore(database) as store:
        command = await in_status(store, Status.FAILED)
        events = await store.events_of_command("default", command.id, 0, 10)
        await store.apply(RecordReply(a_reply("nobody")))
        newest = await store.newest_event_seq()
    told: list[CommandEvent] = []
    async with SqliteStore(database, told.extend) as store:
        assert await store.get_command("default", command.id) == command
        assert await store.events_of_command("default", command.id, 0, 10) == events
        assert len(await ledger(store)) == 1
        await store.accept(an_accept())
    assert told[0].seq == newest + 1
    assert told[0].command.seq == command.seq + 1


async def test_a_device_belongs_to_the_latest_topology(store: SqliteStore) -> None:
    """A drone under two docks. The latest is the one recorded last: clocks may step."""
    drone = (("drone-001", "0-67-0"),)
    await store.devices.save_topology("default", Topology("dock-001", "3-2-0", drone, NOW))
    await store.devices.save_topology("default", Topology("dock-002", "3-2-0", drone, NOW - 5))
    assert await store.devices.list() == [
        Device("default", "dock-001", "dock-001", "3-2-0"),
        Device("default", "dock-002", "dock-002", "3-2-0"),
        Device("default", "drone-001", "dock-002", "0-67-0"),
    ]
    await store.devices.save_topology("default", Topology("dock-002", "3-2-0", (), NOW + 6))
    assert len(await store.devices.list()) == 3


async def test_keys_of_the_open_api_are_kept(store: SqliteStore) -> None:
    """Disabled once, never deleted."""
    key = Credential("id-1", "default", "ours", "open:command:read", b"sealed", NOW)
    assert await store.add_credential(key)
    assert await store.get_credential("id-1") == key
    assert await store.get_credential("id-2") is None
    assert await store.disable_credential("id-1", NOW + 1)
    assert not await store.disable_credential("id-1", NOW + 2)
    assert not await store.disable_credential("id-2", NOW + 2)
    assert [one.disabled_at for one in await store.list_credentials()] == [NOW + 1]


async def test_a_page_of_large_commands_has_fewer_of_them(store: SqliteStore) -> None:
    """None is left out, and each page has at least one, however large that is."""
    half = LARGEST_PAGE // 2 - 1000
    sizes = (10, half, half, LARGEST_PAGE + 1, LARGEST_PAGE + 1, 10, 10)
    ids = [(await store.accept(an_accept(data=b"x" * size))).command.id for size in sizes]
    among = (("dock-001", "drone-001"), ("dock-002", "drone-001"))
    for which, targets in (
        (CommandFilter(), None),
        (CommandFilter("drone-001"), None),
        (CommandFilter(), among),
    ):
        seen: list[list[str]] = []
        before = None
        while not seen or before is not None:
            page = await store.list_commands("default", which, before, 100, targets)
            seen.append([command.id for command in page.commands])
            before = page.next_before
        assert [one for found in seen for one in found] == ids[::-1]
        assert [len(found) for found in seen] == [2, 1, 1, 3]


async def test_a_page_of_large_replies_has_fewer_of_them(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any page."""
    monkeypatch.setattr(database_module, "LARGEST_PAGE", 100)
    for number in range(5):
        await store.record_unmatched(Unmatched("d", f"t{number}", "", "", b"x" * 40, NOW))
    seen: list[list[str]] = []
    before = None
    while not seen or before is not None:
        page = await store.list_unmatched("default", "", before, 4)
        seen.append([reply.tid for reply in page.replies])
        before = page.next_before
    assert seen == [["t4", "t3"], ["t2", "t1"], ["t0"]]


async def test_large_events_are_read_a_few_at_a_time(
    store: SqliteStore, told: list[CommandEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads goes on until there are none."""
    monkeypatch.setattr(database_module, "LARGEST_PAGE", 2000)
    command = await in_status(store, Status.SUCCEEDED)
    for _ in range(4):
        await store.apply(RecordReply(a_reply(command.id, {"result": 0, "output": "x" * 900})))

    async def all_of(read: Callable[[int], Awaitable[Sequence[CommandEvent]]]) -> None:
        seen: list[CommandEvent] = []
        while found := await read(len(seen)):
            assert len(found) < len(told)
            seen += found
        assert seen == told

    await all_of(lambda after: store.events_of_command("default", command.id, after, 100))
    await all_of(lambda after: store.events_of_all_commands(after, 100))
