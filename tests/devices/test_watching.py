"""When a watch of devices tells what: changes at once, states once a second, signs of life."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from support.clock import ManualClock
from support.turns import TurnLoop

from dockgate.downlink.v1 import device_service_pb2 as pb
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.devices.state import StateBoard
from dockgate_server.fleet import Complete, Fleet, Seen
from dockgate_server.model.caller import LOCAL
from dockgate_server.model.device import Device

HEARTBEAT_SECONDS = 15.0
OURS = Device("default", "dock-001", "dock-001")
FOREIGN = Device("another", "dock-002", "dock-002")


class Watch:
    """A watch on a loop whose time the test moves, and when it told what."""

    def __init__(self, loop: TurnLoop) -> None:
        self._loop = loop
        self.presence = PresenceBook(ManualClock())
        self.registry = Registry(cast("Any", None), self.presence, [OURS, FOREIGN])
        self.states = StateBoard()
        self.fleet = Fleet(self.registry, self.states, heartbeat_seconds=HEARTBEAT_SECONDS)
        self.told: list[tuple[float, str]] = []

    def begin(self, *, with_state: bool) -> None:
        """Watch everything that is ours."""
        self._task = self._loop.create_task(self._follow(with_state))
        self._loop.settle()

    def end(self) -> None:
        """Go away."""
        self._task.cancel()
        self._loop.settle()

    def report(self, device: Device) -> None:
        """A device reports its state."""
        self.states.regular(device.id, {"at": self._loop.now}, 0)
        self.registry.feed.state_changed(device.id)

    def until(self, seconds: float, *each: Callable[[], None]) -> None:
        """Let time pass in steps of half a second, with the same happening at each."""
        while self._loop.now < seconds:
            for happens in each:
                happens()
            self._loop.settle()
            self._loop.now += 0.5
        self._loop.settle()

    async def _follow(self, with_state: bool) -> None:
        request = pb.WatchDevicesRequest(with_state=with_state)
        async for update in self.fleet.watch(LOCAL, request):
            if update is None:
                what = "heartbeat"
            elif isinstance(update, Complete):
                what = "complete"
            else:
                assert isinstance(update, Seen)
                what = "device" if update.state is None else f"state of {update.state.osd['at']}"
            self.told.append((self._loop.now, what))


@pytest.fixture
def watch() -> Iterator[Watch]:
    """One that has not begun."""
    with closing(TurnLoop()) as loop:
        watch = Watch(loop)
        yield watch
        watch.end()


BEGIN = [(0.0, "device"), (0.0, "complete")]


@pytest.mark.parametrize("flaps", [False, True])
def test_states_come_once_a_second_whatever_else_changes(watch: Watch, flaps: bool) -> None:
    """Also while a device of another tenant comes and goes all the time."""
    watch.begin(with_state=True)
    changes = [lambda: watch.report(OURS)]
    if flaps:
        changes.append(lambda: watch.registry.feed.changed(FOREIGN.id))
    watch.until(3, *changes)
    states = [(1.0, "state of 1.0"), (2.0, "state of 2.0"), (3.0, "state of 2.5")]
    assert watch.told == [*BEGIN, *states]


@pytest.mark.parametrize("with_state", [False, True])
def test_what_others_do_cannot_be_told_from_the_signs_of_life(
    watch: Watch, with_state: bool
) -> None:
    """They come after their time, whatever another tenant's devices do."""
    watch.begin(with_state=with_state)
    watch.until(31, lambda: watch.registry.feed.changed(FOREIGN.id), lambda: watch.report(FOREIGN))
    assert watch.told == [*BEGIN, (15.0, "heartbeat"), (30.0, "heartbeat")]


def test_who_has_been_told_something_needs_no_sign_of_life(watch: Watch) -> None:
    """Its time begins anew; and a change comes at once."""
    watch.begin(with_state=False)
    watch.until(10)
    watch.presence.heard(OURS.id)
    watch.until(25.5)
    assert watch.told == [*BEGIN, (10.0, "device"), (25.0, "heartbeat")]


def test_a_report_touches_nobody_who_watches(watch: Watch) -> None:
    """Devices report twice a second each, and thousands may watch: each looks by itself."""
    watch.begin(with_state=True)

    class Untouchable(set[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("a report walked over those who watch")

    feed = watch.registry.feed
    watchers, feed._watchers = feed._watchers, Untouchable()
    watch.report(OURS)
    feed._watchers = watchers
    watch.until(1)
    assert watch.told == [*BEGIN, (1.0, "state of 0.0")]


def test_nothing_is_kept_of_a_device_that_is_removed(watch: Watch) -> None:
    """Who registers and removes devices by the thousand does not fill the memory."""
    watch.begin(with_state=True)
    watch.report(OURS)
    watch.registry._removed(OURS)
    assert watch.registry.feed._reported == {}
