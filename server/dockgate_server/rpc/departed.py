"""Keeping clients that have gone out of the log.

A client whose deadline passes, or that refuses an answer for its size, ends the call. What gRPC is
just sending then fails, and if that is known before the end of the call is, gRPC writes it down as
an error with a traceback: as many of them as clients wish. Nothing is wrong here.
"""

import logging
from typing import Final

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

LOG: Final = "grpc._cython.cygrpc"
"""The logger of gRPC's server."""

_NOT_SENT: Final = 'Failed "execute_batch"'
"""What gRPC's core had begun, and the call was over. What it would not begin is another matter."""


def keep_quiet() -> None:
    """Leave these lines out of gRPC's log. Doing so again changes nothing."""
    logging.getLogger(LOG).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, cygrpc.ExecuteBatchError) and str(error).startswith(_NOT_SENT))
