"""Counting refusals, so that a flood of them makes few entries and takes nobody's time.

The first of a kind is recorded at once; those of the same kind within a second of it are counted
and recorded as one entry. Counts are lost only when the process is killed. While the store takes
nothing they wait here, in bounded room.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog

from dockgate_server.clock import Clock, Handle
from dockgate_server.errors import DockgateError
from dockgate_server.model.audit import Entry
from dockgate_server.store.audit import AuditLog

_log = structlog.get_logger(__name__)

HOLD_SECONDS = 1.0
"""For how long those of one kind are counted before they are recorded."""

MOST_KINDS = 256
"""Kinds that are told apart at one time; all others are counted as one."""

MOST_KINDS_UNPROVEN = 192
"""Those of callers of whom nothing is proven: however many hosts they have, room is left for what
callers who are known do."""

MOST_KINDS_OF_A_HOST = 64
"""The same of one host, so that it cannot hide what others do."""

BURST = 128
"""Entries that may be recorded at once after a quiet time."""

ENTRIES_PER_SECOND = 10.0
"""Entries in the long run, whatever comes: less than 300 MB a day."""

_OTHER = "other"

_Kind = tuple[str, ...]


@dataclass(slots=True)
class _Counted:
    """What is known of a kind."""

    entry: Entry
    """The first that has not been recorded yet."""
    count: int
    """How many have not."""
    hold_until: float
    """Nothing is recorded before, by the monotonic clock."""


class Counting:
    """Counts entries by their kind and records them.

    Args:
        log: The audit log.
        clock: The time.
    """

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._kinds: dict[_Kind, _Counted] = {}
        self._of_host: Counter[str] = Counter()
        self._room = float(BURST)
        self._room_at = 0.0
        self._recording: asyncio.Future[None] | None = None
        self._handle: Handle | None = None

    def count(self, entry: Entry) -> None:
        """Take note of something that has happened."""
        kind = _kind(entry)
        known = self._kinds.get(kind)
        if known is None:
            kind, entry = self._placed(kind, entry)
            known = self._kinds.get(kind)
        if known is None:
            self._add(kind, _Counted(entry, 1, self._clock.monotonic()))
            self._record()
            return
        if not known.count:
            known.entry = entry
        known.count += 1

    async def close(self) -> None:
        """Record everything, or give up when the store does not take it."""
        while self._recording is not None:
            await asyncio.wait((self._recording,))
            await asyncio.sleep(0)  # its callback may come behind us
        left = [_whole(one) for one in self._kinds.values() if one.count]
        self._kinds.clear()
        if self._handle is not None:
            self._handle.cancel()
        if left:
            try:
                await self._log.record(*left)
            except DockgateError:
                _log.warning("refusals_not_audited", calls=sum(entry.calls for entry in left))

    def _placed(self, kind: _Kind, entry: Entry) -> tuple[_Kind, Entry]:
        """Where a new kind is counted: on its own, or with the others."""
        most = MOST_KINDS if entry.is_proven else MOST_KINDS_UNPROVEN
        if len(self._kinds) < most and self._of_host[_host(entry)] < MOST_KINDS_OF_A_HOST:
            return kind, entry
        return (_OTHER, entry.outcome), Entry(entry.at, _OTHER, entry.outcome, is_proven=False)

    def _add(self, kind: _Kind, counted: _Counted) -> None:
        self._kinds[kind] = counted
        self._of_host[_host(counted.entry)] += 1

    def _record(self) -> None:
        """Record what is due, as far as there is room, and forget what has been quiet."""
        if self._recording is not None:
            return  # it goes on behind that
        now = self._clock.monotonic()
        self._forget(now)
        due: list[tuple[_Kind, _Counted]] = []
        self._room = min(BURST, self._room + (now - self._room_at) * ENTRIES_PER_SECOND)
        self._room_at = now
        # What has waited longest comes first: a flood that does not end must not keep anything
        # out of the log until it does.
        for kind, one in sorted(self._kinds.items(), key=_since):
            if one.count and one.hold_until <= now and len(due) < int(self._room):
                due.append((kind, one))
        if due:
            self._room -= len(due)
            taken = [(kind, _whole(one)) for kind, one in due]
            for _, one in due:
                one.count, one.hold_until = 0, now + HOLD_SECONDS
            self._recording = self._log.record(*(entry for _, entry in taken))
            self._recording.add_done_callback(lambda done: self._recorded(done, taken))
        else:
            self._come_back()

    def _recorded(self, done: "asyncio.Future[None]", taken: list[tuple[_Kind, Entry]]) -> None:
        self._recording = None
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            self._record()
            return
        if not isinstance(error, DockgateError):  # of which the store itself says nothing
            _log.error("audit_entries_not_recorded", exc_info=error)
        now = self._clock.monotonic()
        for kind, entry in taken:
            self._put_back(kind, entry, now)
        self._come_back()

    def _put_back(self, kind: _Kind, entry: Entry, now: float) -> None:
        """It could not be recorded; it is tried again later, with those that have come since."""
        known = self._kinds.get(kind)
        if known is None:
            self._add(kind, _Counted(entry, entry.calls, now + HOLD_SECONDS))
        else:
            known.count += entry.calls
            known.entry, known.hold_until = entry, now + HOLD_SECONDS

    def _forget(self, now: float) -> None:
        quiet = [
            kind for kind, one in self._kinds.items() if not one.count and one.hold_until <= now
        ]
        for kind in quiet:
            host = _host(self._kinds.pop(kind).entry)
            self._of_host[host] -= 1
            if not self._of_host[host]:
                del self._of_host[host]

    def _come_back(self) -> None:
        """When the next one is due, or can be forgotten."""
        if self._handle is None and self._recording is None and self._kinds:
            next_due = min(one.hold_until for one in self._kinds.values())
            at = max(next_due, self._clock.monotonic() + 1 / ENTRIES_PER_SECOND)
            self._handle = self._clock.call_at(at, self._again)

    def _again(self) -> None:
        self._handle = None
        self._record()


def _kind(entry: Entry) -> _Kind:
    """What is counted together: of a caller who is known, also by what it was about."""
    about = (entry.device_id, entry.method) if entry.is_proven else ()
    who = (entry.tenant, entry.principal, str(entry.is_proven), entry.transport, _host(entry))
    return (*who, entry.action, entry.outcome, entry.reason, *about)


def _since(known: tuple[_Kind, _Counted]) -> float:
    return known[1].hold_until


def _host(entry: Entry) -> str:
    """The peer without its port, which each connection has another one of."""
    host, colon, port = entry.peer.rpartition(":")
    return host if colon and port.isdigit() and not host.endswith(":") else entry.peer


def _whole(one: _Counted) -> Entry:
    return one.entry._replace(calls=one.count)
