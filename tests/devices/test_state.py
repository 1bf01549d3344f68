"""The latest state of each device: merged, bounded, and gone with the device."""

import time
from typing import Any

import orjson
from support.log import Log
from support.records import NOW

from dockgate_server.devices.state import LARGEST_BYTES, StateBoard
from dockgate_server.fleet import Seen
from dockgate_server.model.device import Device, Presence
from dockgate_server.rpc import convert_device


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


def _size(value: object) -> int:
    return len(orjson.dumps(value))


def _kept(board: StateBoard) -> int:
    """Bytes of JSON that are kept of the device d."""
    state = board.of("d")
    return 0 if state is None else _size(state.osd) + _size(state.reported)


def test_a_message_that_is_larger_than_a_state_is_passed_over(log: Log) -> None:
    """Said once for each device, as it is told twice a second; the state is as it was."""
    board = StateBoard()
    large = {"a": [1] * LARGEST_BYTES}
    board.regular("e", large, NOW)
    assert board.of("e") is None
    board.regular("d", {"a": 1}, NOW)
    for put in (board.regular, board.on_change):
        put("d", large, NOW + 1)
    state = board.of("d")
    assert state is not None
    assert (state.osd, state.reported, state.updated_at) == ({"a": 1}, {}, NOW)
    said = [(one["event"], one["device"], one["log_level"]) for one in log]
    assert said == [("state_not_kept", "e", "warning"), ("state_not_kept", "d", "warning")]
    assert log[0]["bytes"] == _size(large)


def test_many_messages_do_not_fill_the_memory_either() -> None:
    """What does not fit beside the rest is passed over; what replaces some of it is taken."""
    board = StateBoard()
    large = "x" * 1000
    for number in range(500):
        board.regular("d", {f"m{number}": large}, NOW)
        board.on_change("d", {f"m{number}": large}, NOW)
    assert LARGEST_BYTES - 2000 < _kept(board) <= LARGEST_BYTES
    for _ in range(3):
        board.regular("d", {"m0": "y" * 1000}, NOW + 1)
    state = board.of("d")
    assert state is not None
    assert (state.osd["m0"], state.updated_at) == ("y" * 1000, NOW + 1)
    board.regular("d", {"m0": 0}, NOW + 2)
    board.regular("d", {"new": "z" * 990}, NOW + 3)
    assert state.osd["new"] == "z" * 990
    assert _kept(board) <= LARGEST_BYTES


def test_a_device_can_be_read_however_large_its_state_is() -> None:
    """Lists of short numbers grow most as a message; clients refuse one of more than 4 MiB."""
    board = StateBoard()
    numbers: dict[str, Any] = {"a": [1] * (LARGEST_BYTES // 4 - 20)}
    board.regular("d", numbers, NOW)
    board.on_change("d", numbers, NOW)
    assert _kept(board) > LARGEST_BYTES - 100
    seen = Seen(Device("default", "d", "d"), Presence.ONLINE, NOW, board.of("d"))
    assert convert_device.device(seen).ByteSize() < 2 * 2**20


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
