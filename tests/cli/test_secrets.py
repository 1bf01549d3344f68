"""What is typed wrongly is quoted, unless it may be a secret."""

import pytest
from cli.scripted import Run


@pytest.mark.parametrize(
    "words",
    [
        ["fileupload_start", "--credentials", '{"access_key_secret": "hush"'],
        ["fileupload_start", '["access_key_secret", "hush"]'],
        ["fileupload_start", '{"credentials": {"access_key_secret": "hush"'],
        ["fileupload_start", "{}", '{"access_key_secret": "hush"}'],
        ["flighttask_execute", "--multi_dock_task.wireless_link_topo.secret_code.0", "hush"],
        ["live_start_push", "--url", "hush", "--url_type", "9.5"],
    ],
)
def test_a_secret_that_is_typed_wrongly_is_not_repeated(run: Run, words: list[str]) -> None:
    """Standard error of a program ends up in its log."""
    called = run("submit", *words, "--device", "dock-001")
    assert called.code == 2
    assert called.err
    assert "hush" not in called.out + called.err
