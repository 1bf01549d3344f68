"""Events that devices tell by themselves: stored, then answered, then acknowledged.

A device repeats an event that asks for an answer until it has one, and the broker brings one
again that was not acknowledged. All of these are one event: it is stored once, and answered
again only when the device has evidently not got the answer.

While one group of events is being committed the next one gathers, so a storm costs few commits
and no task for each event.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import orjson
import structlog

from dockgate_server.bridge.interface import Bridge, Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, envelope, redaction, topics
from dockgate_server.errors import DockgateError
from dockgate_server.hub import Feed
from dockgate_server.inbound.answering import answer
from dockgate_server.inbound.repetition import repeat_key
from dockgate_server.inbound.room import Room
from dockgate_server.lines import MOST_FROM_DEVICES, Lines
from dockgate_server.model.event import DeviceEvent, NewEvent
from dockgate_server.model.job import read_job
from dockgate_server.model.transitions import RecordJob
from dockgate_server.store.events import DeviceEvents, Recorded

_log = structlog.get_logger(__name__)

LARGEST_BYTES = 262_144
"""A larger event is not taken: no watcher could be given it in one message."""

GROUP_LIMIT = 128
"""Events in one commit at most, as others wait for it."""

REMEMBERED = 20_000
"""Events that are known here as told; the store knows all that it keeps."""

ANSWER_HOLDS_SECONDS = 3.0
"""A repetition within this time of our answer was under way already. Real docks repeat after 4 s,
then 8 s."""

_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class _Told:
    """An event and its copies: what of them is still due."""

    gateway_id: str
    tid: str
    bid: str
    method: str
    asks: bool
    """The device wants an answer."""
    held_bytes: int = 0
    """What it takes, until it is stored, of the room for events that the broker does not keep; 0
    for one that takes none."""
    unacknowledged: list[Callable[[], None]] = field(default_factory=list)
    """Copies that wait for the commit and the answer."""
    seq: int | None = None
    """Its number, once it is stored."""
    answered_at: float | None = None
    """When it was answered last, on the monotonic clock."""


_Group = list[tuple[NewEvent, _Told]]


class Events:
    """Stores events with what they say of jobs, and answers them.

    Args:
        bridge: The way back.
        store: Where they are stored.
        feed: Is given what has been stored.
        clock: The time.
        heard: Is given what is said of jobs, also what is said again.
    """

    def __init__(
        self,
        bridge: Bridge,
        store: DeviceEvents,
        feed: Feed[DeviceEvent],
        clock: Clock,
        heard: Callable[[RecordJob], None],
    ) -> None:
        self._bridge = bridge
        self._store = store
        self._feed = feed
        self._clock = clock
        self._heard = heard
        self._known: OrderedDict[bytes, _Told] = OrderedDict()
        self._gathered: _Group = []
        self._alone: deque[_Group] = deque()
        self._storing = False
        self._room = Room("events")
        self._unreadable = Lines(MOST_FROM_DEVICES, clock)
        self._unanswered: list[_Told] = []
        self._answered: list[int] = []
        self._noting = False

    def handle(self, gateway_id: str, content: envelope.Envelope | None, message: Inbound) -> None:
        """See :data:`~dockgate_server.inbound.router.Handler`."""
        if content is None or len(message.payload) > LARGEST_BYTES:
            size = len(message.payload)
            about = {"topic": message.topic, "bytes": size}
            self._unreadable.write(_log.warning, "unreadable_message", **about)
            message.acknowledge()
            return
        if content.flaw:
            about = {"gateway": gateway_id, "tid": content.tid[: envelope.LONGEST_NAME]}
            about["flaw"] = content.flaw
            self._unreadable.write(_log.warning, "event_kept_in_part", **about)
        new = _read(gateway_id, content, self._clock.now_ms())
        for job in new.jobs:
            self._heard(job)
        told = None if new.repeat_key is None else self._known.get(new.repeat_key)
        if told is None:
            told = _Told(gateway_id, new.tid, new.bid, new.method, new.need_reply)
            if not message.comes_again:
                told.held_bytes = len(message.payload)
                if not self._room.take(told.held_bytes):
                    return  # a device that wants an answer tells it again
            if new.repeat_key is not None:
                self._remember(new.repeat_key, told)
            self._gathered.append((new, told))
        told.asks |= new.need_reply
        if message.comes_again:
            told.unacknowledged.append(message.acknowledge)
        if told.seq is None:
            self._store_next()
        else:
            self._finish(told)
            self._note_answers()

    def connection_changed(self) -> None:
        """Answer what came before anything could be sent: just behind a new connection's begin."""
        unanswered, self._unanswered = self._unanswered, []
        for told in unanswered:
            self._finish(told)
        self._note_answers()

    def _remember(self, repeat_key: bytes, told: _Told) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.popitem(last=False)
        self._known[repeat_key] = told

    def _store_next(self) -> None:
        if self._storing:
            return
        if self._alone:
            group = self._alone.popleft()
        elif self._gathered:
            group = self._gathered[:GROUP_LIMIT]
            del self._gathered[:GROUP_LIMIT]
        else:
            return
        self._storing = True
        self._store_group(group)

    def _store_group(self, group: _Group) -> None:
        storing = self._store.record([new for new, _ in group])
        storing.add_done_callback(partial(self._stored, group))

    def _stored(self, group: _Group, done: asyncio.Future[Recorded]) -> None:
        if done.cancelled():
            return  # the event loop is closing; the broker brings them again after the restart
        error = done.exception()
        if isinstance(error, DockgateError):
            when = self._clock.monotonic() + _RETRY_SECONDS
            self._clock.call_at(when, partial(self._store_group, group))
            return
        if error is None:
            self._settle(group, done.result())
        elif len(group) > 1:
            # A bug of ours. The others must not suffer from the one that it is about.
            self._alone.extend([one] for one in group)
        else:
            self._drop(*group[0], error)
        self._storing = False
        self._store_next()

    def _settle(self, group: _Group, recorded: Recorded) -> None:
        events = [one for one in recorded if isinstance(one, DeviceEvent)]
        if events:
            self._feed.publish(events)
        for (_, told), one in zip(group, recorded, strict=True):
            told.seq = one.seq
            self._free(told)
            if not isinstance(one, DeviceEvent) and one.answered_at is not None:
                # By the wall clock: an earlier process has answered it.
                age = (self._clock.now_ms() - one.answered_at) / 1000
                told.answered_at = self._clock.monotonic() - max(age, 0.0)
            self._finish(told)
        self._note_answers()

    def _drop(self, new: NewEvent, told: _Told, error: BaseException) -> None:
        """Go on without an event; a repetition is tried anew."""
        _log.error("event_not_recorded", method=new.method, exc_info=error)
        if new.repeat_key is not None:
            self._known.pop(new.repeat_key, None)
        self._free(told)
        _acknowledge(told)  # or it would come again for ever

    def _free(self, told: _Told) -> None:
        if told.held_bytes:
            self._room.free(told.held_bytes)

    def _finish(self, told: _Told) -> None:
        """Answer an event that is stored, if that is due, and acknowledge it."""
        if told.asks and not self._bridge.connected:
            self._unanswered.append(told)
            return
        if told.asks:
            self._answer(told)
        _acknowledge(told)

    def _answer(self, told: _Told) -> None:
        now = self._clock.monotonic()
        if told.answered_at is not None and now < told.answered_at + ANSWER_HOLDS_SECONDS:
            return
        answer(self._bridge, self._clock, topics.events_reply(told.gateway_id), told)
        told.answered_at = now
        assert told.seq is not None, "only what is stored is answered"
        self._answered.append(told.seq)

    def _note_answers(self) -> None:
        """Write down what has been answered, for the next process; together with the next group."""
        if self._noting or not self._answered:
            return
        seqs, self._answered = self._answered, []
        self._noting = True
        self._store.answered(seqs, self._clock.now_ms()).add_done_callback(self._noted)

    def _noted(self, done: asyncio.Future[None]) -> None:
        if done.cancelled():
            return
        done.exception()  # not worth a second try: at worst an event is answered once more
        self._noting = False
        self._note_answers()


def _acknowledge(told: _Told) -> None:
    for acknowledge in told.unacknowledged:
        acknowledge()
    told.unacknowledged.clear()


def _read(gateway_id: str, content: envelope.Envelope, now: int) -> NewEvent:
    method = content.method or ""
    is_known = method in catalogue.EVENTS
    data = orjson.dumps(redaction.without_secrets(content.data, known=is_known))
    return NewEvent(
        gateway_id=gateway_id,
        method=method,
        tid=content.tid,
        bid=content.bid,
        need_reply=content.need_reply,
        data=data,
        received_at=now,
        repeat_key=repeat_key(gateway_id, content.tid, content.bid, method, data),
        jobs=_jobs(gateway_id, content, now),
    )


def _jobs(gateway_id: str, content: envelope.Envelope, now: int) -> tuple[RecordJob, ...]:
    links = catalogue.PROGRESS.get(content.method or "", ())
    job = read_job(content.data, now) if links else None
    if job is None:
        return ()
    keys: dict[str, list[str]] = {}
    for link in links:
        for key in _keys(content, link.event_key):
            keys.setdefault(key, []).append(link.command_type)
    return tuple(RecordJob(gateway_id, tuple(methods), key, job) for key, methods in keys.items())


def _keys(content: envelope.Envelope, event_key: str) -> tuple[str, ...]:
    """The jobs that an event is about, under the name its method has for them."""
    if event_key == "bid":
        value: object = content.bid
    else:
        value = content.data.get(event_key) if isinstance(content.data, dict) else None
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in values if isinstance(one, str) and one)
