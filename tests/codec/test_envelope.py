"""What stands around ``data``: written exactly, read whatever comes."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockgate_server.codec import envelope

ODD = orjson.loads((Path(__file__).parent / "odd_messages.json").read_bytes())


def test_an_envelope_has_exactly_the_members_that_djis_has() -> None:
    """Numbers are numbers, data is what it was."""
    payload = envelope.write(
        tid="t-1", bid="b-1", method="charge_open", data=b'{"a":[1,2.0]}', timestamp=1654070968655
    )
    assert orjson.loads(payload) == {
        "bid": "b-1",
        "tid": "t-1",
        "timestamp": 1654070968655,
        "method": "charge_open",
        "data": {"a": [1, 2.0]},
    }
    assert b'"timestamp":1654070968655' in payload
    assert b'"data":{"a":[1,2.0]}' in payload


def test_what_is_written_can_be_read() -> None:
    """Our own form is one of those that are understood."""
    payload = envelope.write(tid="t", bid="b", method="m", data=b"null", timestamp=1)
    assert envelope.read(payload) == envelope.Envelope("t", "b", "m", None, need_reply=False)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ",".join(odd["odd"])[:60])
def test_an_odd_message_of_a_real_device_is_read(odd: dict[str, Any]) -> None:
    """Recorded from docks: nil ids, lists and text as data, other orders of members."""
    payload = odd["payload"]
    read = envelope.read(orjson.dumps(payload))
    assert read is not None
    assert (read.tid, read.bid) == (payload.get("tid", ""), payload.get("bid", ""))
    assert read.method == payload.get("method")
    assert read.data == payload.get("data")
    assert read.need_reply is (payload.get("need_reply") == 1)


@pytest.mark.parametrize(
    ("member", "value", "expected"),
    [
        ("tid", None, ""),
        ("tid", 17, "17"),
        ("tid", True, ""),
        ("tid", ["a"], ""),
        ("bid", {"a": 1}, ""),
        ("bid", 1.5, "1.5"),
        ("method", None, None),
        ("method", "", None),
        ("method", 4, None),
        ("need_reply", 1, True),
        ("need_reply", "1", True),
        ("need_reply", 0, False),
        ("need_reply", "yes", False),
        ("need_reply", [1], False),
        ("need_reply", {}, False),
        ("data", "", ""),
        ("data", [], []),
    ],
)
def test_a_member_of_any_type_is_read_as_well_as_it_can_be(
    member: str, value: object, expected: object
) -> None:
    """Real devices are careless; nothing of that may raise."""
    read = envelope.read(orjson.dumps({member: value, "timestamp:": 1}))
    assert getattr(read, member) == expected


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"a":NaN}'])
def test_what_is_no_object_is_no_message(payload: bytes) -> None:
    """It goes to the ledger as it came."""
    assert envelope.read(payload) is None


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_what_is_nested_beyond_reason_is_no_message(opening: bytes) -> None:
    """It could be stored, but never shown: protobuf reads 100 levels, three for each of these."""
    closing = {b"[": b"]"}.get(opening, b"}")
    fine, deep = envelope.DEEPEST - 1, envelope.DEEPEST
    for depth, readable in ((fine, True), (deep, False), (300, False), (5000, False)):
        payload = b'{"tid":"t","data":' + opening * depth + b"0" + closing * depth + b"}"
        assert (envelope.read(payload) is not None) is readable


@given(st.binary(max_size=200))
def test_reading_bytes_never_raises(payload: bytes) -> None:
    """Whatever the network brings."""
    envelope.read(payload)


@pytest.mark.parametrize(
    ("content", "is_will"),
    [
        ({"method": "update_topo", "data": {"type": 3, "sub_devices": []}}, True),
        ({"method": "update_topo", "data": {"type": 3}}, True),
        ({"method": "update_topo", "data": {"sub_devices": None}}, True),
        ({"method": "update_topo", "data": ""}, True),
        ({"method": "update_topo"}, True),
        ({"data": {"sub_devices": []}}, True),
        ({"tid": "", "bid": None, "method": "update_topo", "data": {"sub_devices": []}}, True),
        # When it was written says nothing of when it was sent.
        ({"timestamp": 1, "method": "update_topo", "data": {"sub_devices": []}}, True),
        # A living dock has a drone less, or one more, or says something else.
        ({"tid": "t", "method": "update_topo", "data": {"sub_devices": []}}, False),
        ({"bid": "b", "method": "update_topo", "data": {"sub_devices": []}}, False),
        ({"tid": 7, "method": "update_topo", "data": {"sub_devices": []}}, False),
        ({"method": "update_topo", "data": {"sub_devices": [{"sn": "drone-001"}]}}, False),
        ({"method": "a_newer_one", "data": {"sub_devices": []}}, False),
        ({"x": 1}, False),
        ({"data": {"x": 1}}, False),
        ({"data": []}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_last_will_is_an_update_topo_without_ids_and_sub_devices(
    content: dict[str, Any], is_will: bool
) -> None:
    """Nobody could answer it; an announcement has ids, as its device waits for the answer."""
    read = envelope.read(orjson.dumps(content))
    assert read is not None
    assert read.is_last_will is is_will


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = st.sampled_from(["tid", "bid", "method", "data", "need_reply", "timestamp", "gateway"])


@given(st.dictionaries(MEMBERS, VALUES) | VALUES)
def test_reading_json_never_raises(content: object) -> None:
    """Every member may be missing or of any type; what was read can be stored."""
    read = envelope.read(orjson.dumps(content))
    assert (read is not None) is isinstance(content, dict)
    if read is not None:
        assert isinstance(read.tid, str)
        assert isinstance(read.bid, str)
        orjson.dumps(read.data)
