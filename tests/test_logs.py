"""What is written to standard error has no payloads in it, whatever goes wrong."""

import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from dockgate_server import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is set up for the whole process."""
    configured, handlers = structlog.get_config(), list(logging.root.handlers)
    yield
    structlog.configure(**configured)
    logging.root.handlers[:] = handlers


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_local_variables(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They hold what callers and devices have sent, secrets among it."""
    logs.configure("info", form)

    def fails(payload: str) -> None:
        password = payload + "-word"
        raise ValueError(f"of {len(password)} characters")

    try:
        fails("hu" + "sh")
    except ValueError as error:
        structlog.get_logger("test").error("internal_error", exc_info=error)
    written = capsys.readouterr().err
    assert "hush" not in written
    assert "ValueError: of 9 characters" in written
    assert "in fails" in written


def test_for_machines_each_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With the level, the time in UTC, and what it is about."""
    logs.configure("warning", "json")
    structlog.get_logger("test").info("too little")
    structlog.get_logger("test").warning("enough", about=1)
    line = orjson.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["about"]) == ("enough", "warning", 1)
    assert line["timestamp"].endswith("Z")
