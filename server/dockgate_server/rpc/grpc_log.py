"""What of gRPC's own log does not get into ours.

Whoever can connect could fill the log with it, as there is a traceback each time:

* a client whose deadline passes, or that refuses an answer for its size, ends the call. What gRPC
  is just sending then fails, and if that is known before the end of the call is, gRPC calls it an
  error. Nothing is wrong here.
* of metadata that is no text gRPC writes down all of it, keys too. Such a value is read as Latin-1,
  so it fits nothing that is looked for, and a call that shows it in place of a key is refused as
  ever.
"""

import logging
from typing import Final

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it has no types

NAME: Final = "grpc._cython.cygrpc"
"""The logger of gRPC's server."""

_NOT_SENT: Final = 'Failed "execute_batch"'
"""What gRPC's core had begun, and the call was over. What it would not begin is another matter."""

_NO_TEXT: Final = "Invalid encoding"


def keep_few() -> None:
    """Leave these lines out of gRPC's log. Doing so again changes nothing."""
    logging.getLogger(NAME).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, cygrpc.ExecuteBatchError) and str(error).startswith(_NOT_SENT):
        return False
    return not str(record.msg).startswith(_NO_TEXT)
