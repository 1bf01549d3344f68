"""From the words on a command line to DJI's JSON."""

from typing import Any

import pytest

from dockgate_server.cli import payload
from dockgate_server.cli.problem import USAGE, Problem
from dockgate_server.codec import catalogue

FILES = {"-": '{"bucket": "from-stdin"}', "@task.json": '{"bucket": "from-file"}'}


def read(method: str, *words: str) -> dict[str, Any]:
    descriptor = catalogue.find(method).descriptor
    return payload.read(descriptor, method, words, ("--device", "--timeout"), FILES.__getitem__)


@pytest.mark.parametrize(
    ("method", "words", "expected"),
    [
        ("charge_open", [], {}),
        ("camera_recording_start", ["--payload_index", "39-0-7"], {"payload_index": "39-0-7"}),
        ("camera_recording_start", ["--payload-index", "39-0-7"], {"payload_index": "39-0-7"}),
        ("camera_recording_start", ["--payload_index=39=0"], {"payload_index": "39=0"}),
        ("camera_recording_start", ["--payload_index", "39"], {"payload_index": "39"}),
        ("camera_recording_start", ["--payload_index", "-1"], {"payload_index": "-1"}),
        ("camera_recording_start", ["--payload_index="], {"payload_index": ""}),
        ("camera_recording_start", ['{"payload_index": "1"}'], {"payload_index": "1"}),
        ("camera_recording_start", ['{"other": 1}'], {"other": 1}),
        ("fileupload_start", ["-"], {"bucket": "from-stdin"}),
        ("fileupload_start", ["@task.json"], {"bucket": "from-file"}),
        (
            "fileupload_start",
            ["@task.json", "--region", "cn", "--bucket", "mine"],
            {"bucket": "mine", "region": "cn"},
        ),
        (
            "fileupload_start",
            ["--credentials.expire", "0", "--credentials.security-token", ""],
            {"credentials": {"expire": 0, "security_token": ""}},
        ),
        (
            "fileupload_start",
            ['{"credentials": {"expire": 1}}', "--credentials.access_key_id", "a"],
            {"credentials": {"expire": 1, "access_key_id": "a"}},
        ),
        (
            "fileupload_start",
            [
                *("--params.files.0.module", "3", "--params.files.0.list.0.boot_index", "7"),
                *("--params.files.1.module", "0"),
            ],
            {"params": {"files": [{"module": "3", "list": [{"boot_index": 7}]}, {"module": "0"}]}},
        ),
        (
            "fileupload_start",
            ["--params.files.0", '{"module": "3"}', "--params.files.1.list", "[]"],
            {"params": {"files": [{"module": "3"}, {"list": []}]}},
        ),
        ("live_start_push", ["--url_type", "1"], {"url_type": 1}),
        ("live_start_push", ["--url_type", "2"], {"url_type": 2}),
        ("live_start_push", ["--url_type", "rtmp"], {"url_type": 1}),
        ("live_start_push", ["--url_type", "URL_TYPE_WEBRTC"], {"url_type": 4}),
        ("live_start_push", ["--video-quality", "ultra-high"], {"video_quality": 4}),
    ],
)
def test_words_become_values_of_the_fields_types(
    method: str, words: list[str], expected: dict[str, Any]
) -> None:
    """Text stays text, numbers become numbers, names become numbers, parts find their place."""
    assert read(method, *words) == expected


@pytest.mark.parametrize(
    ("method", "words", "complaint"),
    [
        (
            "camera_recording_start",
            ["--payload_indx", "1"],
            "camera_recording_start has no field 'payload_indx'; did you mean --payload_index?",
        ),
        ("camera_recording_start", ["--devise", "x"], "did you mean --device?"),
        ("camera_recording_start", ["--zzz", "x"], "the fields are --payload_index"),
        ("charge_open", ["--zzz", "x"], "charge_open has no field 'zzz'; it has no fields"),
        ("camera_recording_start", ["--payload_index"], "needs a value, text"),
        ("camera_recording_start", ["--payload_index", "--x"], "needs a value, text"),
        ("camera_recording_start", ["--payload_index.x", "1"], "is text and has no parts"),
        (
            "camera_recording_start",
            ["--payload_index", "1", "--payload_index", "2"],
            "--payload_index: is given twice",
        ),
        ("camera_recording_start", ["{"], "the payload is not JSON"),
        ("camera_recording_start", ['{"payload_index": NaN}'], "NaN is not JSON"),
        ("camera_recording_start", ["39-0-7"], "fields are given as --field value"),
        ("camera_recording_start", ["[]"], "the payload must be an object"),
        ("camera_recording_start", ["{}", "{}"], "there is one payload"),
        ("fileupload_start", ["--credentials.expire", "soon"], "must be a whole number"),
        ("fileupload_start", ["--credentials.expire", "1.5"], "must be a whole number"),
        ("fileupload_start", ["--credentials", "x"], "must be an object as JSON, not 'x'"),
        ("fileupload_start", ["--credentials.expir", "1"], "did you mean --credentials.expire?"),
        ("fileupload_start", ["--params.files", "x"], "must be a list as JSON"),
        ("fileupload_start", ["--params.files.1.module", "3"], "element 0 of the list has to come"),
        ("fileupload_start", ["--params.files.x.module", "3"], "counts the list's elements from 0"),
        (
            "fileupload_start",
            ['{"params": 1}', "--params.files.0.module", "3"],
            "contradicts the value that was given for the whole",
        ),
        (
            "live_start_push",
            ["--url_type", "rtmq"],
            "must be one of 0 agora, 1 rtmp, 3 gb28181, 4 webrtc, not 'rtmq'",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(
    method: str, words: list[str], complaint: str
) -> None:
    """One line: which option, what is wrong, what would be right."""
    with pytest.raises(Problem) as raised:
        read(method, *words)
    assert complaint in raised.value.message
    assert "\n" not in raised.value.message
    assert raised.value.exit_code == USAGE
