"""The latest state of each device: merged, bounded, and gone with the device."""

import time

from support.records import NOW

from dockgate_server.devices.state import StateBoard


def test_each_message_has_some_of_the_members() -> None:
    """The latest of each counts; both topics are kept apart."""
    board = StateBoard()
    board.regular("d", {"a": 1, "b": 1}, NOW)
    board.regular("d", {"b": 2}, NOW + 1)
    board.on_change("d", {"b": 3}, NOW + 2)
    state = board.of("d")
    assert state is not None
    assert (state.osd, state.reported, state.updated_at) == ({"a": 1, "b": 2}, {"b": 3}, NOW + 2)


def test_made_up_members_do_not_fill_the_memory() -> None:
    """Those that are known are still kept up to date."""
    board = StateBoard()
    for number in range(10):
        board.regular("d", {f"m{number}-{one}": 0 for one in range(100)}, NOW)
    board.regular("d", {"m0-0": 1, "new": 1}, NOW)
    state = board.of("d")
    assert state is not None
    assert len(state.osd) == 500
    assert state.osd["m0-0"] == 1
    assert "new" not in state.osd


def test_nor_do_they_in_one_message() -> None:
    """It may have any number of them."""
    board = StateBoard()
    board.on_change("d", {f"m{one}": 0 for one in range(10_000)}, NOW)
    state = board.of("d")
    assert state is not None
    assert len(state.reported) == 500


def test_a_device_that_is_forgotten_has_no_state() -> None:
    """And one that was never heard of neither."""
    board = StateBoard()
    board.regular("d", {"a": 1}, NOW)
    board.forget("d")
    board.forget("e")
    assert board.of("d") is board.of("e") is None


def test_a_fleet_of_a_hundred_docks_costs_next_to_nothing() -> None:
    """Two messages a second of each: a minute's worth in far less than a second of work."""
    board = StateBoard()
    osd = {f"member_{number}": number for number in range(40)}
    began = time.process_time()
    for _ in range(120):
        for dock in range(100):
            board.regular(f"dock-{dock}", osd, NOW)
    assert time.process_time() - began < 1.0
