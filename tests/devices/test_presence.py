"""Who is there: signs of life, last wills, doubts, and what a restart knows of it."""

from pathlib import Path

import pytest
from support.clock import ManualClock
from support.records import NOW

from dockgate_server.devices import presence as presences
from dockgate_server.devices.log import WhereaboutsLog
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.errors import DockgateError
from dockgate_server.model.device import Device, Presence, Topology, Whereabouts
from dockgate_server.store.sqlite import SqliteStore

DOCK = Topology("dock-001", "3-2-0", (), NOW)


def test_any_message_is_a_sign_of_life_and_a_last_will_is_none() -> None:
    """What is not known is unknown."""
    book = PresenceBook(ManualClock(NOW))
    assert (book.of("d"), book.heard_at("d")) == (Presence.UNKNOWN, None)
    book.heard("d")
    assert (book.of("d"), book.heard_at("d")) == (Presence.ONLINE, NOW)
    book.left("d")
    assert (book.of("d"), book.heard_at("d")) == (Presence.OFFLINE, NOW)
    book.doubt("d")
    assert book.of("d") is Presence.UNKNOWN


def test_who_is_named_was_there_then_and_is_not_online_for_that() -> None:
    """Nor was it there earlier than it was heard itself."""
    book, told = PresenceBook(ManualClock(NOW)), []
    book.listen(lambda serial_number, presence: told.append(serial_number))
    book.named("drone", NOW - 1)
    assert (book.of("drone"), book.heard_at("drone"), told) == (Presence.UNKNOWN, NOW - 1, [])
    assert book.take_heard() == {"drone"}
    book.heard("drone")
    book.named("drone", NOW - 1)
    assert book.heard_at("drone") == NOW


async def test_a_drone_was_seen_when_its_dock_announced_it(tmp_path: Path) -> None:
    """Though it has said nothing itself; a restart knows it, and a later leave changes nothing."""
    topology = Topology("dock-001", "3-2-0", (("drone-001", "0-91-0"),), NOW)
    gone = Topology("dock-001", "3-2-0", (), NOW + 5_000)
    async with SqliteStore(tmp_path / "d.db") as store:
        book = PresenceBook(ManualClock(NOW))
        registry = Registry(store.devices, book)
        log = WhereaboutsLog(store.devices, book, registry)
        await registry.learn(topology)
        await registry.learn(gone)
        assert registry.heard_at(registry.resolve("default", "drone-001")) == NOW
        log.write()
    async with SqliteStore(tmp_path / "d.db") as store:
        registry = Registry(store.devices, PresenceBook(ManualClock(NOW)))
        await registry.load()
        assert registry.heard_at(registry.resolve("default", "drone-001")) == NOW


@pytest.mark.parametrize("is_started_again", [False, True])
async def test_a_drone_that_is_registered_elsewhere_is_there_when_it_is_named(
    tmp_path: Path, is_started_again: bool
) -> None:
    """Not by the word of the dock where it was before."""
    presence = PresenceBook(ManualClock(NOW))
    presence.heard("dock-002")
    async with SqliteStore(tmp_path / "d.db") as store:
        registry = Registry(store.devices, presence)
        await registry.learn(Topology("dock-001", "3-2-0", (("drone-001", "0-91-0"),), NOW))
        await registry.register(Device("default", "drone-001", "dock-001", alias="eagle"))
        assert registry.resolve("default", "eagle").listed
        await registry.register(Device("default", "drone-001", "dock-002"))
        if is_started_again:
            registry = Registry(store.devices, presence)
            await registry.load()
        moved = registry.resolve("default", "drone-001")
        assert (moved.gateway_id, registry.presence(moved)) == ("dock-002", Presence.OFFLINE)
        await registry.learn(Topology("dock-002", "3-2-0", (("drone-001", "0-91-0"),), NOW))
        assert registry.presence(registry.resolve("default", "drone-001")) is Presence.ONLINE


def test_listeners_hear_of_changes_only() -> None:
    """A dock speaks all the time."""
    book, told = PresenceBook(ManualClock(NOW)), []
    book.listen(lambda serial_number, presence: told.append((serial_number, presence)))
    for _ in range(3):
        book.heard("d")
    book.left("d")
    book.left("d")
    book.forget()
    assert told == [("d", one) for one in (Presence.ONLINE, Presence.OFFLINE, Presence.UNKNOWN)]


def test_made_up_serial_numbers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, which means unknown."""
    monkeypatch.setattr(presences, "_MOST_KNOWN", 3)
    book = PresenceBook(ManualClock(NOW))
    for number in range(5):
        book.heard(f"d{number}")
    known = [book.of(f"d{number}") for number in range(5)]
    assert known == [Presence.UNKNOWN] * 2 + [Presence.ONLINE] * 3
    assert book.heard_at("d0") is None


def test_made_up_serial_numbers_fill_no_memory_either_when_all_is_doubted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time the broker has lost our session what was known is forgotten, with its bound."""
    monkeypatch.setattr(presences, "_MOST_KNOWN", 3)
    book = PresenceBook(ManualClock(NOW))
    for round_ in range(3):
        for number in range(5):
            book.heard(f"{round_}-{number}")
            book.named(f"{round_}-{number}-drone", NOW)
        book.forget()
    assert len(book._heard_at) == 3
    assert book.heard_at("2-4-drone") == NOW
    assert book.take_heard() == set(book._heard_at)


async def test_comings_and_goings_survive_a_restart(tmp_path: Path) -> None:
    """Of known devices; what is not known is not written down."""
    clock = ManualClock(NOW)
    async with SqliteStore(tmp_path / "d.db") as store:
        book = PresenceBook(clock)
        registry = Registry(store.devices, book)
        await registry.learn(DOCK)
        WhereaboutsLog(store.devices, book, registry)
        book.heard("dock-001")
        book.heard("nobody")
        book.left("dock-001")
    async with SqliteStore(tmp_path / "d.db") as store:
        book = PresenceBook(clock)
        await Registry(store.devices, book).load()
        assert (book.of("dock-001"), book.heard_at("dock-001")) == (Presence.OFFLINE, NOW)
        assert book.of("nobody") is Presence.UNKNOWN


async def test_what_the_store_cannot_take_is_written_with_the_next_round(tmp_path: Path) -> None:
    """Also of a device that has left and says nothing more: else a restart takes it for there."""
    async with SqliteStore(tmp_path / "d.db") as store:
        writing = store._writer._connection
        book = PresenceBook(ManualClock(NOW))
        registry = Registry(store.devices, book)
        await registry.learn(DOCK)
        log = WhereaboutsLog(store.devices, book, registry)
        book.heard("dock-001")
        log.write()
        await store.forget_nonces(0)
        await writing.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
        book.left("dock-001")
        for _ in range(2):
            with pytest.raises(DockgateError):
                await store.forget_nonces(0)
            log.write()
        with pytest.raises(DockgateError):
            await store.forget_nonces(0)
        await writing.run(lambda db: db.execute("PRAGMA query_only = OFF").fetchall())
        log.write()
        await store.forget_nonces(0)
        expected = Whereabouts("dock-001", Presence.OFFLINE, NOW)
        assert list(await store.devices.whereabouts()) == [expected]


async def test_when_a_device_was_heard_of_is_written_now_and_then(tmp_path: Path) -> None:
    """Not with every message."""
    clock = ManualClock(NOW)
    async with SqliteStore(tmp_path / "d.db") as store:
        book = PresenceBook(clock)
        registry = Registry(store.devices, book)
        await registry.learn(DOCK)
        log = WhereaboutsLog(store.devices, book, registry)
        book.heard("dock-001")
        clock.advance(5)
        book.heard("dock-001")
        await store.forget_nonces(0)  # whatever was asked for before is done when this is
        expected = Whereabouts("dock-001", Presence.ONLINE, NOW)
        assert list(await store.devices.whereabouts()) == [expected]
        log.write()
        await store.forget_nonces(0)
        expected = Whereabouts("dock-001", Presence.ONLINE, NOW + 5_000)
        assert list(await store.devices.whereabouts()) == [expected]
