"""How a dock is told to misbehave."""

import re

import pytest

from dockgate_server.simulate import behaviour as b
from dockgate_server.simulate import parsing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("silent", (None, b.Silent())),
        ("normal", (None, b.Normal())),
        ("slow:2", (None, b.Slow(2.0))),
        ("charge_open=late:0.5", ("charge_open", b.Late(0.5))),
        ("charge_open=twice", ("charge_open", b.Twice())),
        ("wrong-tid", (None, b.WrongTid())),
        ("wrong-method", (None, b.WrongMethod())),
        ("wrong-method:camera_aim", (None, b.WrongMethod("camera_aim"))),
        ("unreadable", (None, b.Unreadable())),
        ("no-result", (None, b.NoResult())),
        ("offline:1", (None, b.Offline(1.0))),
        ("job-fails", (None, b.JobFails())),
        ("charge_open=job-fails:321004", ("charge_open", b.JobFails(321004, 50))),
        ("charge_open=job-fails:321004@40", ("charge_open", b.JobFails(321004, 40))),
        ("job-fails@15", (None, b.JobFails(314004, 15))),
        ("job-ends:rejected", (None, b.JobEnds("rejected", 50))),
        ("job-ends:partially_done@95", (None, b.JobEnds("partially_done", 95))),
        ("job-ends:timeout:321257@0", (None, b.JobEnds("timeout", 0, 321257))),
        ("job-silent", (None, b.JobSilent(50))),
        ("charge_open=job-silent@0", ("charge_open", b.JobSilent(0))),
        ("member-fails:state", (None, b.MemberFails("state", 1))),
        ("member-fails:state=2", (None, b.MemberFails("state", 2))),
        (
            "distance_limit_status=member-fails:state=-5",
            ("distance_limit_status", b.MemberFails("state", -5)),
        ),
    ],
)
def test_a_flag_names_a_behaviour(text, expected):
    assert parsing.parse_behave(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sloow:2", "there are normal, silent"),
        ("slow", "slow needs seconds, for instance slow:2"),
        ("slow:", "slow needs seconds"),
        ("slow:soon", "'soon' is not a time in seconds"),
        ("slow:-1", "from 0 to 86400"),
        ("slow:nan", "from 0 to 86400"),
        ("slow:inf", "from 0 to 86400"),
        ("twice:2", "takes no argument"),
        ("Charge=twice", "is not a method name"),
        ("=twice", "is not a method name"),
        ("wrong-method:", "is not a method name"),
        ("job-fails:0", "other than 0"),
        ("job-fails:1@101", "up to 100"),
        ("job-fails:x", "for instance job-fails:314008@40"),
        ("job-fails:0@10", "other than 0"),
        ("job-ends", "job-ends:STATUS@PERCENT, one of canceled"),
        ("job-ends:ok@50", "job-ends:STATUS@PERCENT, one of canceled"),
        ("job-ends:rejected@101", "up to 100"),
        ("job-silent:40", "for instance job-silent@40"),
        ("job-silent@101", "up to 100"),
        ("slow@2", "'slow@2' is not a behaviour"),
        ("member-fails", "for instance member-fails:state=2"),
        ("member-fails:", "for instance member-fails:state=2"),
        ("member-fails:state=0", "other than 0"),
        ("member-fails:state=x", "as member-fails:NAME=RESULT"),
        ("a=b=twice", "'b=twice' is not a behaviour"),
        ("", "is not a behaviour"),
    ],
)
def test_a_bad_flag_is_told_what_would_be_right(text, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        parsing.parse_behave(text)
    assert "\n" not in str(caught.value)


def test_a_reply_is_any_json():
    assert parsing.parse_reply('charge_open={"result": 1, "a": "b=c"}') == (
        "charge_open",
        b.Reply({"result": 1, "a": "b=c"}),
    )
    assert parsing.parse_reply('charge_open=""')[1] == b.Reply("")


@pytest.mark.parametrize("text", ["charge_open", "charge_open=", "charge_open={", "A={}"])
def test_a_bad_reply_is_refused(text):
    with pytest.raises(ValueError, match=r"JSON|method name"):
        parsing.parse_reply(text)


def test_behaviours_for_one_method_add_up():
    conduct = b.conduct_of([b.Slow(1), b.Twice(), b.Reply({"result": 1}), b.JobFails()])
    assert conduct == b.Conduct(1, b.Twice(), b.Reply({"result": 1}), b.JobFails())


def test_several_members_can_fail_at_once():
    failing = (b.MemberFails("horizon", 1), b.MemberFails("upside", 2))
    assert b.conduct_of(failing) == b.Conduct(failing=failing)


@pytest.mark.parametrize(
    "pair",
    [
        (b.Slow(1), b.Late(2)),
        (b.Silent(), b.WrongTid()),
        (b.JobFails(), b.JobSilent()),
        (b.JobEnds("timeout"), b.JobEnds("canceled")),
        (b.MemberFails("state", 1), b.MemberFails("state", 2)),
    ],
)
def test_behaviours_that_exclude_each_other_are_refused(pair):
    with pytest.raises(ValueError, match="exclude each other"):
        b.conduct_of(pair)


def test_what_is_said_for_a_method_replaces_what_is_said_for_all():
    told = b.Behaviours(
        {None: [b.Silent()], "charge_open": [b.Slow(1)], "cover_open": [b.Normal()]}
    )
    assert told.conduct("camera_aim").form == b.Silent()
    assert told.conduct("charge_open") == b.Conduct(delay=1)
    assert told.conduct("cover_open") == b.Conduct()


def test_telling_nothing_forgets_what_was_said():
    told = b.Behaviours({None: [b.Silent()], "charge_open": [b.Slow(1)]})
    told.tell("charge_open", [])
    assert told.conduct("charge_open").form == b.Silent()
    told.tell(None, [])
    assert told.conduct("charge_open") == b.Conduct()


def test_a_rate_is_a_number_of_messages_per_second():
    assert [parsing.parse_rate(text) for text in ("0", "0.5", "1000")] == [0, 0.5, 1000]


@pytest.mark.parametrize("text", ["", "fast", "-1", "nan", "inf", "1001"])
def test_a_bad_rate_is_refused(text):
    with pytest.raises(ValueError, match="from 0 to 1000, such as 10"):
        parsing.parse_rate(text)
