"""The HTTP transport, the open API: translates between JSON and the use cases, and no more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dockgate_server.config import Http
    from dockgate_server.http.server import HttpServer


_AUTHORITIES: Final = "SSL_CERT_FILE"
"""The variable by which OpenSSL finds them."""


def load(settings: "Http") -> "type[HttpServer] | None":
    """What serves it, if it is to be served: who does without need not have it in memory.

    To be called before anything is served, as it takes a tenth of a second.
    """
    if not settings.enabled:
        return None
    with _without_authorities():
        from dockgate_server.http.server import HttpServer

    return HttpServer


@contextmanager
def _without_authorities() -> Iterator[None]:
    """Let aiohttp's client, which nobody here uses, find no certificate authorities to trust.

    When it is loaded it reads all that the system has: 35 ms, and 2 MiB.
    """
    before = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ[_AUTHORITIES]
        else:
            os.environ[_AUTHORITIES] = before
