"""DJI's error codes in words."""

import time
from pathlib import Path

import pytest
from support.records import NOW, a_reply, an_accept

from dockgate_server.codec import error_codes
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.transitions import RecordReply
from dockgate_server.store.sqlite import SqliteStore

TABLE = Path(error_codes.__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()


def test_the_dictionary_is_whole() -> None:
    """448 codes of six digits, each once and with a label, in their order."""
    rows = [line.split("\t") for line in TABLE]
    codes = [code for code, _ in rows]
    assert len(rows) == 448
    assert codes == sorted(set(codes))
    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert all(label and label == label.strip() for _, label in rows)


@pytest.mark.parametrize("code", [314008, "314008"])
def test_a_known_code_has_its_label(code: str | int) -> None:
    """As a number and as the text that response_code is."""
    assert error_codes.label(code) == "aircraft task preparation timeout"


@pytest.mark.parametrize("code", [0, "0", 314004, "", "camera busy", -1, "314008 "])
def test_what_is_not_in_the_dictionary_has_no_label(code: str | int) -> None:
    """Devices answer with codes that DJI has not published, and with words."""
    assert error_codes.label(code) is None


@pytest.mark.parametrize(
    ("code", "source", "module"),
    [
        ("314008", "device", "14"),
        ("514100", "device", "14"),
        ("412999", "pilot2", "12"),
        ("600001", "pilot2", "00"),
        ("210231", None, "10"),
        ("5001", None, None),
        ("camera busy", None, None),
        ("٣١٤٠٠٨", None, None),
    ],
)
def test_a_code_says_who_speaks(code: str, source: str | None, module: str | None) -> None:
    """By its digits, also when the dictionary does not have it."""
    explained = error_codes.explain(code)
    assert (explained.source, explained.module) == (source, module)
    assert explained.label == error_codes.label(code)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            {"result": 314008},
            "the device answered with result 314008: aircraft task preparation timeout",
        ),
        ({"result": 314004}, "the device answered with result 314004"),
        ({"result": 314008, "message": "not now"}, "not now"),
    ],
)
async def test_a_command_fails_with_words(
    tmp_path: Path, data: dict[str, object], reason: str
) -> None:
    """The device's own, else those of the dictionary, else the bare code."""
    async with SqliteStore(tmp_path / "dockgate.db", lambda _: None) as store:
        command = (await store.accept(an_accept())).command
        await store.apply(RecordReply(a_reply(command.id, data)))
        failed = await store.get_command(DEFAULT_TENANT, command.id)
    assert failed is not None
    assert failed.failure_reason == reason
    assert failed.updated_at == NOW + 3_000


def test_the_dictionary_is_read_in_no_time() -> None:
    """The first device that fails a command must not make the writer wait."""
    error_codes._labels.cache_clear()
    started = time.perf_counter()
    error_codes.label(314008)
    assert time.perf_counter() - started < 0.5
