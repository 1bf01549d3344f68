"""``dockgate error``."""

import json

import pytest
from cli.scripted import Run

UNKNOWN = "error: {} is not in DJI's list of error codes"


def test_a_code_is_told_in_words(run: Run) -> None:
    """Who speaks, which module, and what is wrong."""
    called = run("error", "314008")
    assert (called.code, called.err) == (0, "")
    assert called.out.splitlines()[1].split("  ")[0] == "314008"
    assert "dock or drone" in called.out
    assert called.out.rstrip().endswith("aircraft task preparation timeout")


def test_several_codes_are_lines_for_programs(run: Run) -> None:
    """One document each."""
    called = run("error", "314008", "326002", "--json")
    assert called.code == 0
    assert [json.loads(line) for line in called.out.splitlines()] == [
        {
            "code": "314008",
            "source": "device",
            "module": "14",
            "label": "aircraft task preparation timeout",
        },
        {
            "code": "326002",
            "source": "device",
            "module": "26",
            "label": "no DJI Cellular Dongle on aircraft",
        },
    ]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "399999",
            f"{UNKNOWN.format(399999)}; by its digits it comes from dock or drone, module 99\n",
        ),
        ("7", f"{UNKNOWN.format(7)}\n"),
        ("0", "error: 0 is no error: the device did, or has begun, what it was told\n"),
    ],
)
def test_an_unknown_code_fails_with_a_line(run: Run, code: str, line: str) -> None:
    """With what can be told all the same."""
    called = run("error", code)
    assert (called.code, called.out, called.err) == (1, "", line)


def test_the_known_among_unknown_codes_are_told(run: Run) -> None:
    """The exit code says that not all were."""
    called = run("error", "399999", "314008", "--json")
    assert called.code == 1
    assert json.loads(called.out)["code"] == "314008"
    assert json.loads(called.err)["code"] == "UNKNOWN_ERROR_CODE"


@pytest.mark.parametrize("wrong", ["abc", "31400 8", "3.5", "", "٣"])
def test_what_is_no_number_is_a_wrong_call(run: Run, wrong: str) -> None:
    """Nothing is told of the others either."""
    called = run("error", "314008", wrong)
    assert (called.code, called.out) == (2, "")
    assert called.err == f"error: CODE must be a number such as 314008, not {wrong!r}\n"


def test_the_help_has_examples(run: Run) -> None:
    """As that of every command."""
    called = run("error", "--help")
    assert called.code == 0
    assert "dockgate error 314008 326002 --json" in called.out
    assert run("error").code == 2
