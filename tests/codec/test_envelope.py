"""What stands around ``data``: written exactly, read whatever comes."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockgate_server.codec import envelope, tolerant

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


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"tid":"t","data":{"result":0']
)
def test_what_is_no_object_is_no_message(payload: bytes) -> None:
    """It goes to the ledger as it came."""
    assert envelope.read(payload) is None


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b'{"result":0,"x":NaN}', {"result": 0, "x": "NaN"}),
        (b'{"result":-Infinity}', {"result": "-Infinity"}),
        (b'{"result":0,"x":1e400,"y":1.5}', {"result": 0, "x": "1e400", "y": 1.5}),
        (b'{"result":%s}' % (b"9" * 400), {"result": "9" * 400}),
        (b'{"result":%s}' % (b"9" * 5000), {"result": "9" * 5000}),
        (b'{"x":%d,"y":1e400}' % 2**63, {"x": 2**63, "y": "1e400"}),
        (b'{"msg":"\xc3\x28"}', {"msg": "\N{REPLACEMENT CHARACTER}("}),
        (b'{"msg":"\\ud800","\\udc00":1}', {"msg": "?", "?": 1}),
        (b'{"msg":"a\nb\0c"}', {"msg": "a\nb\0c"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_message_that_is_hardly_json_is_read_as_far_as_it_goes(data: bytes, read: object) -> None:
    """What stands beside is not lost for it; a number that nothing can hold stays its text."""
    message = envelope.read(b'{"tid":"t","bid":"b","method":"m","need_reply":1,"data":%s}' % data)
    expected = envelope.Envelope("t", "b", "m", read, need_reply=True, flaw="is not valid JSON")
    assert message == expected


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \n"])
@pytest.mark.parametrize("behind", [b"\0", b"}", b'{"tid":"u"}', b" x"])
def test_what_stands_around_a_message_is_passed_over(before: bytes, behind: bytes) -> None:
    """A mark of the encoding, the end of a text in C, the rest of a buffer."""
    message = envelope.read(before + b'{"tid":"t","data":1}' + behind)
    assert message == envelope.Envelope(
        "t", "", None, 1, need_reply=False, flaw="is not valid JSON"
    )


def test_only_so_much_is_read_patiently() -> None:
    """It takes many times as long, and anybody at the broker may send it."""
    start = b'{"data":NaN,"tid":"'
    fits = start + b"t" * (tolerant.MOST_BYTES - len(start) - 2) + b'"}'
    assert envelope.read(fits) is not None
    assert envelope.read(fits + b" ") is None


@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_what_is_nested_beyond_reason_is_cut_off_there(opening: bytes, closing: bytes) -> None:
    """It could be stored, but never shown: protobuf reads 100 levels, three for each of these."""
    fine = envelope.DEEPEST - 1
    for depth in (fine, fine + 1, 300, 900):
        nested = b"%s0%s" % (opening * depth, closing * depth)
        message = envelope.read(b'{"tid":"t","data":%s}' % nested)
        assert message is not None
        assert message.tid == "t"
        assert not envelope.deeper_than(fine, message.data)
        expected = nested
        if depth > fine:
            expected = b"%snull%s" % (opening * fine, closing * fine)
        assert orjson.dumps(message.data) == expected
        assert message.flaw == ("is nested too deep" if depth > fine else "")
    assert envelope.read(b'{"tid":"t","data":%s0%s}' % (opening * 5000, closing * 5000)) is None


def test_a_message_that_is_nested_too_deep_beside_its_data_keeps_all_of_that() -> None:
    """But it is told, as the whole message is kept in some places."""
    message = envelope.read(b'{"tid":"t","data":{"a":[1]},"x":%s}' % (b"[" * 30 + b"]" * 30))
    assert message is not None
    assert (message.data, message.flaw) == ({"a": [1]}, "is nested too deep")


@given(
    st.recursive(
        st.floats() | st.integers() | st.text(st.characters(exclude_categories=())) | st.none(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(st.characters(exclude_categories=())), inner, max_size=4)
        ),
    )
)
def test_what_another_writer_of_json_writes_can_be_read_and_stored(data: object) -> None:
    """Python's writes NaN, endless integers and halves of characters."""
    for ascii_only in (True, False):
        text = json.dumps({"tid": "t", "data": data}, ensure_ascii=ascii_only)
        message = envelope.read(text.encode(errors="surrogatepass"))
        assert message is not None
        assert message.tid == "t"
        orjson.dumps(message.data)


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
