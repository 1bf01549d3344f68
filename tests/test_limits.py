"""What a credential and a device may take: counted exactly, and given back."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.clock import ManualClock
from support.records import an_accept

from dockgate_server.config.limits import LimitsSection
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.limits import Limits
from dockgate_server.limits.refusals import LOG_SECONDS
from dockgate_server.model.caller import LOCAL, Caller
from dockgate_server.model.command import CommandEvent, FailureCode
from dockgate_server.model.transitions import Expire, Refuse
from dockgate_server.store.sqlite import SqliteStore

ALICE, BOB = Caller("default", "dk_alice"), Caller("default", "dk_bob")
ORDINARY, EMERGENCY = "camera_recording_start", "return_home"
Made = Callable[..., Limits]


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture
def made(clock: ManualClock) -> Made:
    """Limits with these settings."""
    return lambda **settings: Limits(LimitsSection(**settings), clock)


def refused(ask: Callable[[], Any], limit: str) -> DockgateError:
    """The refusal by that limit."""
    with pytest.raises(DockgateError) as caught:
        ask()
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.metadata["limit"] == f"limits.{limit}"
    return caught.value


def test_a_bucket_is_emptied_at_once_and_filled_in_time(made: Made, clock: ManualClock) -> None:
    """At once as many as it holds, then as many as come back."""
    rate = made(requests_per_second=2, requests_at_once=3).rate
    for _ in range(3):
        rate.take(ALICE)
    refused(lambda: rate.take(ALICE), "requests_per_second")
    clock.advance(0.5)
    rate.take(ALICE)
    refused(lambda: rate.take(ALICE), "requests_per_second")


def test_being_refused_costs_no_token(made: Made, clock: ManualClock) -> None:
    """Whoever keeps trying gets through as soon as there is one."""
    rate = made(requests_per_second=1, requests_at_once=1).rate
    rate.take(ALICE)
    for _ in range(9):
        clock.advance(0.1)
        refused(lambda: rate.take(ALICE), "requests_per_second")
    clock.advance(0.1)
    rate.take(ALICE)


@pytest.mark.parametrize(("per_second", "told"), [(0.1, "10"), (0.4, "3"), (100, "1")])
def test_when_to_come_again_is_told_in_whole_seconds(
    made: Made, clock: ManualClock, per_second: float, told: str
) -> None:
    """Rounded up, and at least one: who comes then is not refused again."""
    rate = made(requests_per_second=per_second, requests_at_once=1).rate
    rate.take(ALICE)
    refusal = refused(lambda: rate.take(ALICE), "requests_per_second")
    assert refusal.metadata["retry_after_seconds"] == told
    clock.advance(float(told))
    rate.take(ALICE)


def test_a_token_can_be_given_back(made: Made) -> None:
    """So that a request that turns out to be a replay has used up nothing of its victim."""
    rate = made(requests_per_second=1, requests_at_once=1).rate
    for _ in range(3):
        rate.take(ALICE)
        refused(lambda: rate.take(ALICE), "requests_per_second")
        rate.give_back(ALICE)
    rate.give_back(BOB)  # who has taken none gets no more than there are
    rate.take(BOB)
    refused(lambda: rate.take(BOB), "requests_per_second")


def test_everybody_has_a_bucket_of_their_own_and_who_is_local_has_none(made: Made) -> None:
    """One who sends too much takes nothing from another."""
    rate = made(requests_per_second=1, requests_at_once=1).rate
    rate.take(ALICE)
    refused(lambda: rate.take(ALICE), "requests_per_second")
    rate.take(BOB)
    for _ in range(10):
        rate.take(LOCAL)


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_clock_that_jumps_shuts_nobody_out(
    made: Made, clock: ManualClock, seconds: float
) -> None:
    """Backwards the bucket is empty at worst, forwards it is full."""
    rate = made(requests_per_second=1, requests_at_once=5).rate
    clock.advance(10_000)
    for _ in range(5):
        rate.take(ALICE)
    clock._monotonic += seconds
    with suppress(DockgateError):
        rate.take(ALICE)
    clock.advance(1)
    rate.take(ALICE)


def test_full_buckets_are_forgotten(made: Made, clock: ManualClock) -> None:
    """However many credentials have ever asked, only those are kept that have asked just now."""
    rate = made(requests_per_second=1000, requests_at_once=10).rate
    for number in range(10_000):
        clock.advance(0.01)
        rate.take(Caller("default", f"dk_{number}"))
    assert len(rate._full_at) <= 1001


def test_a_flood_of_refusals_is_a_line_a_second(made: Made, clock: ManualClock) -> None:
    """For each credential and limit, with the number of those left out."""
    rate = made(requests_per_second=0.01, requests_at_once=1).rate
    with capture_logs() as lines:
        for caller in (ALICE, BOB):
            rate.take(caller)
            for _ in range(100):
                refused(lambda caller=caller: rate.take(caller), "requests_per_second")
        clock.advance(LOG_SECONDS)
        refused(lambda: rate.take(ALICE), "requests_per_second")
    assert [(line["who"], line["refused"]) for line in lines] == [
        ("dk_alice", 1),
        ("dk_bob", 1),
        ("dk_alice", 100),
    ]


def test_a_flood_of_names_is_not_remembered(made: Made, clock: ManualClock) -> None:
    """Peers are noted by address, of which there are many."""
    refusals = made().refusals
    for number in range(10_000):
        clock.advance(0.01)
        refusals.note("http.max_connections", str(number))
    assert len(refusals._quiet) <= 1001


def test_a_watch_is_counted_while_it_is_open(made: Made) -> None:
    """Also when it ends with an exception."""
    watches = made(watches_per_credential=2).watches
    with watches.one_more(ALICE):
        with suppress(ZeroDivisionError), watches.one_more(ALICE):
            refused(watches.one_more(ALICE).__enter__, "watches_per_credential")
            raise ZeroDivisionError
        with watches.one_more(ALICE), watches.one_more(BOB):
            pass
    assert watches._of_credential == {}


def test_who_is_local_may_watch_as_much_as_wanted(made: Made) -> None:
    """There is no credential to count."""
    watches = made(watches_per_credential=1).watches
    with ExitStack() as opened:
        for _ in range(10_000):
            opened.enter_context(watches.one_more(LOCAL))


def test_the_last_place_goes_to_one_of_two(made: Made) -> None:
    """A place is held from before the commit, so two submissions cannot both have it."""
    places = made(open_commands_per_device=1).open_commands
    places.reserve(ALICE, "a", "dock-001", ORDINARY)
    refused(lambda: places.reserve(BOB, "b", "dock-001", ORDINARY), "open_commands_per_device")
    places.reserve(BOB, "c", "dock-002", ORDINARY)
    places.give_back("a")
    places.give_back("a")
    places.reserve(BOB, "b", "dock-001", ORDINARY)


def test_a_credential_is_counted_over_all_devices(made: Made) -> None:
    """Except the one that is nobody's; and an emergency is not refused for it, but counted."""
    places = made(open_commands_per_credential=1).open_commands
    places.reserve(ALICE, "a", "dock-001", EMERGENCY)
    places.reserve(ALICE, "b", "dock-001", EMERGENCY)
    places.give_back("a")
    refused(
        lambda: places.reserve(ALICE, "c", "dock-002", ORDINARY),
        "open_commands_per_credential",
    )
    for command_id in "def":
        places.reserve(LOCAL, command_id, "dock-001", ORDINARY)


def test_emergencies_of_one_kind_have_an_end(made: Made) -> None:
    """Told how many are open; every other stop gets through, by whomever, to whichever device."""
    places = made(open_emergencies=2, open_commands_per_device=1).open_commands
    for command_id in "ab":
        places.reserve(ALICE, command_id, "dock-001", EMERGENCY)
    refusal = refused(lambda: places.reserve(ALICE, "c", "dock-001", EMERGENCY), "open_emergencies")
    assert refusal.message.startswith("2 return_home of dk_alice to dock-001 are open")
    places.reserve(ALICE, "d", "dock-001", "drone_emergency_stop")
    places.reserve(ALICE, "e", "dock-002", EMERGENCY)
    places.reserve(BOB, "f", "dock-001", EMERGENCY)
    places.give_back("a")
    places.reserve(ALICE, "c", "dock-001", EMERGENCY)
    for command_id in "bcdef":
        places.give_back(command_id)
    assert not places._emergencies


def test_who_is_local_may_not_pile_up_emergencies_either(made: Made) -> None:
    """It is the device that they are for."""
    places = made(open_emergencies=1).open_commands
    places.reserve(LOCAL, "a", "dock-001", EMERGENCY)
    refused(lambda: places.reserve(LOCAL, "b", "dock-001", EMERGENCY), "open_emergencies")


class Counted:
    """A store whose commits are counted, and the number of open commands that it has itself."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.places = limits.open_commands
        self.store = SqliteStore(folder / "dockgate.db", self.committed)

    def committed(self, events: Sequence[CommandEvent]) -> None:
        """The store has committed."""
        self.places.committed(events)

    async def agrees(self, of_device: dict[str, int]) -> bool:
        """Whether what is counted is this, and what is stored."""
        stored: dict[str, int] = {}
        for _, gateway_id, _, _ in await self.store.open_places():
            stored[gateway_id] = stored.get(gateway_id, 0) + 1
        return self.places._of_device == stored == of_device


async def test_a_restart_counts_what_is_open(made: Made, tmp_path: Path) -> None:
    """And nothing else: neither what has ended nor what has been only reserved."""
    first = Counted(tmp_path, made())
    async with first.store as store:
        kept, ended = an_accept("kept"), an_accept("ended")
        other = an_accept("other", gateway_id="dock-002")
        for one in (kept, ended, other):
            first.places.reserve(ALICE, one.id, one.gateway_id, ORDINARY)
            await store.accept(one)
        await store.apply(Expire((ended.id,), ended.deadline_at))
        assert await first.agrees({"dock-001": 1, "dock-002": 1})
    again = Counted(tmp_path, made())
    async with again.store as store:
        again.places.recover(await store.open_places())
        assert await again.agrees({"dock-001": 1, "dock-002": 1})
        await store.apply(Expire((kept.id, other.id), kept.deadline_at))
        assert await again.agrees({})
    assert again.places._of_credential == {}


async def test_what_is_recorded_behind_the_end_frees_nothing_more(
    made: Made, tmp_path: Path
) -> None:
    """Each place is given back once, whatever is asked of the command afterwards."""
    counted = Counted(tmp_path, made())
    async with counted.store as store:
        ended, kept = an_accept("ended"), an_accept("kept")
        for one in (ended, kept):
            await store.accept(one)
        for _ in range(2):
            await store.apply(Refuse(ended.id, FailureCode.DEVICE_OFFLINE, "away", 1))
            await store.apply(Expire((ended.id,), ended.deadline_at))
        events = await store.events_of_all_commands(0, 100)
        counted.places.committed([event._replace(seq=event.seq + 100) for event in events[-1:]])
        assert await counted.agrees({"dock-001": 1})
