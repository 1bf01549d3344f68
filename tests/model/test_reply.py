"""Reading what a device answers: strict about the outcome, tolerant about everything else."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import a_reply

from dockgate_server.model.command import Channel, Command, Status, Vendor
from dockgate_server.model.reply import (
    LONGEST_TEXT,
    Outcome,
    as_integer,
    outcome_for,
    read_outcome,
)


@pytest.mark.parametrize(
    ("data", "succeeded", "code"),
    [
        ({"result": 0}, True, "0"),
        ({"result": 321004}, False, "321004"),
        ({"result": -1}, False, "-1"),
        ({"result": "0"}, True, "0"),
        ({"result": " 0 "}, True, "0"),
        ({"result": "321004"}, False, "321004"),
        ({"result": 0.0}, True, "0"),
        ({"result": 5001.0}, False, "5001"),
        ({"code": 0}, True, "0"),
        ({"code": "7"}, False, "7"),
        ({"result": None, "code": 0}, True, "0"),
        # The code is shown, the result decides.
        ({"result": 0, "code": 5001}, True, "5001"),
        ({"result": 5001, "code": 0}, False, "0"),
        ({"result": 5001, "code": "E-17"}, False, "E-17"),
        ({"result": 5001, "code": 12.0}, False, "12"),
        ({"result": 5001, "code": 1.5}, False, "1.5"),
        ({"result": 5001, "code": True}, False, "true"),
        ({"result": 5001, "code": None}, False, "5001"),
        ({"result": 5001, "code": {"a": 1}}, False, "5001"),
        ({"result": 5001, "code": [1]}, False, "5001"),
        ({"result": 0, "output": {"status": "sent"}}, True, "0"),
    ],
)
def test_a_readable_result_decides(data: object, succeeded: bool, code: str) -> None:
    """Digits as text count; 0 is success, anything else is not."""
    assert read_outcome(data) == Outcome(succeeded, code, None)


@pytest.mark.parametrize(
    "data",
    [
        *(None, "", "0", 0, [], [{"result": 0}], {}, True),
        *({"result": result} for result in (None, "", "ok", "0x0", "٣", "1.0", 0.5, [0], {"a": 0})),
        # true is a word for success in some languages and for 1, an error code, in others.
        *({"result": True}, {"result": False}, {"code": True}, {"code": "E-17"}),
        # An unreadable result is not made up for by a readable code.
        *({"result": "odd", "code": 0}, {"result": True, "code": 0}, {"result": [], "code": 0}),
        # One level too deep: not where DJI puts it.
        {"output": {"result": 0}},
        # Numbers that nothing we speak to can carry.
        *({"result": 1e300}, {"result": 2**63}, {"result": -(2**63) - 1}),
    ],
)
def test_without_a_readable_result_there_is_no_outcome(data: object) -> None:
    """What cannot be read is never taken for success, nor for failure."""
    assert read_outcome(data) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"message": "a", "msg": "b", "description": "c"}, "a"),
        ({"msg": "b", "description": "c"}, "b"),
        ({"description": "c"}, "c"),
        ({"message": "", "msg": "b"}, "b"),
        ({"message": None, "description": "c"}, "c"),
        ({"message": 5, "msg": "b"}, "b"),
        ({"message": {"en": "x"}}, None),
        ({}, None),
    ],
)
def test_the_first_of_message_msg_and_description_counts(
    data: dict[str, object], message: str | None
) -> None:
    """As the platform's page says; what is no text, or none at all, is passed over."""
    outcome = read_outcome({"result": 0, **data})
    assert outcome is not None
    assert outcome.message == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["result", "code", "message", "msg"]), JSON) | JSON)
def test_reading_never_raises_and_success_is_a_zero(data: object) -> None:
    """Success is claimed only where result, or else code, is a zero."""
    outcome = read_outcome(data)
    if outcome is not None and outcome.succeeded:
        assert isinstance(data, dict)
        result = data.get("result")
        assert as_integer(data.get("code") if result is None else result) == 0


@given(JSON)
def test_a_whole_number_fits_into_64_bits(value: object) -> None:
    """Beyond that neither JSON, nor the database, nor the schema has a place for it."""
    number = as_integer(value)
    if number is not None:
        assert -(2**63) <= number < 2**63
        assert not isinstance(value, bool)


def _command(command_type: str) -> Command:
    return Command(
        seq=1,
        id="c1",
        tenant="default",
        principal="p",
        vendor=Vendor.DJI,
        device_id="drone-001",
        gateway_id="dock-001",
        channel=Channel.SERVICES,
        command_type=command_type,
        data=b"{}",
        timeout_seconds=30,
        accepted_at=0,
        deadline_at=30_000,
        job_key=None,
        status=Status.ACCEPTED,
        revision=1,
        updated_at=0,
    )


def test_a_reply_fits_by_method_or_without_one() -> None:
    """Many replies name no method; one that names another is not the answer."""
    command = _command("charge_open")
    assert isinstance(outcome_for(command, a_reply("c1")), Outcome)
    assert isinstance(outcome_for(command, a_reply("c1", method="charge_open")), Outcome)
    other = outcome_for(command, a_reply("c1", method="charge_close"))
    assert other == "the reply is to 'charge_close', not to 'charge_open'"
    data = {"result": "?"}
    odd = a_reply("c1", data, raw_data=orjson.dumps(data))
    assert outcome_for(command, odd) == "the reply has no readable result"


def test_why_a_reply_does_not_fit_is_said_briefly() -> None:
    """A device may put anything into the method's name."""
    why = outcome_for(_command("charge_open"), a_reply("c1", method="x" * 10_000))
    assert isinstance(why, str)
    assert len(why) < 200


def test_what_a_reply_says_is_cut_where_it_is_too_long() -> None:
    """It is kept twice beside the reply itself, with every event of the command."""
    outcome = read_outcome({"result": 1, "code": "c" * 10_000, "message": "m" * 10_000})
    assert outcome is not None
    assert (outcome.code, outcome.message) == ("c" * LONGEST_TEXT, "m" * LONGEST_TEXT)


def test_properties_that_were_not_set_are_told_briefly() -> None:
    """However many there are, and however long the names that a device gives them."""
    data = {"x" * 100_000: {f"m{number}": {"result": 1} for number in range(5000)}}
    outcome = read_outcome(data, Channel.PROPERTY_SET)
    assert outcome is not None
    assert outcome.message is not None
    assert outcome.message.startswith("not set: xxx")
    assert len(outcome.message) == LONGEST_TEXT


def test_properties_without_a_result_are_told_briefly() -> None:
    """However many were sent."""
    sent = orjson.dumps({"x" * 100_000: {f"m{number}": 1 for number in range(5000)}})
    command = _command("x")._replace(channel=Channel.PROPERTY_SET, data=sent)
    why = outcome_for(command, a_reply("c1", {"y": 1}, channel=Channel.PROPERTY_SET))
    assert isinstance(why, str)
    assert why.startswith("the reply has no result for xxx")
    assert len(why) <= LONGEST_TEXT
