"""Certificates from files, taken anew when the files change, without a restart.

Whoever renews certificates writes the files one after the other, so that for a moment they are
half-written or do not belong together. Meanwhile, and for as long as they stay so, the ones that
were read before serve on.
"""

import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from dockgate_server import pem

_log = structlog.get_logger(__name__)

Loaded = TypeVar("Loaded")

_State = tuple[tuple[int, ...], ...]


class TlsProblem(Exception):
    """TLS files cannot be used; the message says which ones and why."""


class Renewed(Generic[Loaded]):
    """What is made of files, made again when they have changed; safe to use from any thread.

    Args:
        what: What it is for, in messages.
        files: The files.
        load: Makes it of them; raises OSError or ValueError when they cannot be used.

    Raises:
        TlsProblem: They cannot be used now, at the start.
    """

    def __init__(self, what: str, files: Sequence[Path], load: Callable[[], Loaded]) -> None:
        self._what = what
        self._files = tuple(files)
        self._load = load
        self._lock = threading.Lock()
        # Taken before the files are read: what is written meanwhile is noticed the next time.
        self._seen = self._state()
        try:
            self._loaded = load()
        except (OSError, ValueError) as error:
            raise TlsProblem(f"cannot use {self._described()}: {error}") from error
        self._given = self._loaded

    def current(self) -> Loaded:
        """As the files are now, or as they were when they could be used last."""
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                try:
                    self._loaded = self._load()
                    _log.info("tls_files_renewed", files=self._described())
                except (OSError, ValueError) as error:
                    # Once for each change of the files, however many connections ask.
                    _log.error(
                        "tls_files_unusable",
                        files=self._described(),
                        problem=str(error),
                        served="the ones that were read before",
                    )
            return self._loaded

    def change(self) -> Loaded | None:
        """What :meth:`current` gives, only if it is not what was given last; else None."""
        current = self.current()
        with self._lock:
            changed, self._given = current is not self._given, current
        return current if changed else None

    def _described(self) -> str:
        return f"the TLS files for {self._what}, {', '.join(str(file) for file in self._files)}"

    def _state(self) -> _State:
        return tuple(_state_of(file) for file in self._files)


def _state_of(file: Path) -> tuple[int, ...]:
    try:
        stat = file.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def server_context(what: str, certificate: Path, key: Path) -> ssl.SSLContext:
    """What Python's own TLS needs to serve: TLS 1.2 and later, each connection with the newest.

    Raises:
        TlsProblem: The files cannot be used.
    """

    def load() -> ssl.SSLContext:
        pem.read(certificate, key, None)  # for its messages; a context has none worth reading
        context = _context()
        context.load_cert_chain(certificate, key)
        return context

    renewed = Renewed(what, (certificate, key), load)

    def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = renewed.current()

    # Has no certificate itself. It is asked in each handshake, also if the client names no host.
    choosing = _context()
    choosing.sni_callback = choose
    return choosing


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
