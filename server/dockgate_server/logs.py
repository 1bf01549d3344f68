"""What the server writes to standard error: one line for each thing worth knowing.

Payloads, secrets and signatures are never logged.
"""

import logging
import sys
from typing import TextIO, cast

import structlog


class _Stderr:
    """Whatever standard error is when a line is written: it may be replaced meanwhile."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(level: str, form: str) -> None:
    """Set up logging once, for the whole process.

    Args:
        level: debug, info, warning or error.
        form: ``text`` for people, ``json`` for machines.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default one prints local variables, and with them payloads and their secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    # What libraries have to say: warnings and worse.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    keep_metadata_out()


class _NoMetadata(logging.Filter):
    """Drops what gRPC says of metadata that is no text: a traceback with all of it, keys too.

    Whoever can connect could fill the log with it. Such a value is read as Latin-1, so it fits
    nothing that is looked for, and a call that shows it in place of a key is refused as ever.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Invalid encoding")


_no_metadata = _NoMetadata()


def keep_metadata_out() -> None:
    """Have gRPC write no metadata; once for the process."""
    # The same filter each time: a logger takes it once.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_no_metadata)
