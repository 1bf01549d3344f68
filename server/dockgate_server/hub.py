"""Wakes watchers when something has been committed, and keeps the newest events at hand.

A watcher is woken and then reads from its own cursor: the hub never pushes into it, so a slow
watcher delays nobody and holds no queue. What is read comes from a bounded tail of committed
events while the cursor is within it, and from the store otherwise; only committed events ever
get here. The hub is filled by the store's commit callback, on the event loop.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from dockgate_server.model.command import CommandEvent

TAIL_EVENTS = 10_000
"""Events kept for those who watch all of a kind: a few seconds at full load."""

TAIL_BYTES = 64 * 2**20
"""The same by what is long in them: devices may give long answers."""

TOPIC_EVENTS = 64
"""Events kept for each command that is being watched: more than a life without a job has."""

TOPIC_EVENT_BYTES = 16_384
"""Longer ones are not kept for a command: who watches it reads them from the store."""

_size = attrgetter("size")


class Watcher:
    """One who waits for events. Woken once per commit, however many events it holds."""

    __slots__ = ("_waiter", "_woken", "closed")

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False
        self.closed = False
        """The hub has closed: there will be nothing more."""

    def wake(self) -> None:
        """Let the wait end, now or when it begins."""
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Wait to be woken; False when so many seconds pass first."""
        if not self._woken:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            handle = loop.call_later(seconds, _end_wait, self._waiter)
            try:
                await self._waiter
            finally:
                handle.cancel()
                self._waiter = None
        woken, self._woken = self._woken, False
        return woken


class Numbered(Protocol):
    """What has a place in an order that only grows."""

    @property
    def seq(self) -> int:
        """The place."""

    @property
    def size(self) -> int:
        """How many bytes are in what may be long of it."""


Event = TypeVar("Event", bound=Numbered)


class Feed(Generic[Event]):
    """Events of one kind: the newest of them, and who waits for more."""

    def __init__(self) -> None:
        self._fleet: set[Watcher] = set()
        # A list, as a watcher that is woken must find its place in it without walking there.
        self._tail: list[Event] = []
        self._bytes = 0  # in the tail
        self._newest = 0
        self._closed = False

    @property
    def newest_seq(self) -> int:
        """The seq of the newest event committed."""
        return self._newest

    def start_from(self, newest_seq: int) -> None:
        """Say which event was the last one before this process; the tail begins behind it."""
        self._newest = newest_seq

    def publish(self, events: Sequence[Event]) -> None:
        """Take in the events of a commit and wake those who wait for them."""
        self._tail.extend(events)
        self._bytes += sum(map(_size, events))
        # Not at each commit: a drop moves all that stay.
        if len(self._tail) > TAIL_EVENTS + TAIL_EVENTS // 10 or self._bytes > TAIL_BYTES:
            self._drop()
        self._newest = events[-1].seq
        if woken := self._hand_out(events):
            # In the loop's next turn: commands that were committed together with these events are
            # on their way to the devices before anybody is told of them, which takes longer.
            asyncio.get_running_loop().call_soon(_wake, woken)

    def _drop(self) -> None:
        """Let the oldest go, and some more than must, so that it is a while until the next drop."""
        count = max(0, len(self._tail) - TAIL_EVENTS)
        self._bytes -= sum(map(_size, self._tail[:count]))
        while self._bytes > TAIL_BYTES - TAIL_BYTES // 10:
            self._bytes -= self._tail[count].size
            count += 1
        del self._tail[:count]

    @contextmanager
    def watch_all(self) -> Iterator[Watcher]:
        """Be woken by every event."""
        with self._watching(self._fleet) as watcher:
            yield watcher

    def events_behind(self, after: int, limit: int) -> Sequence[Event] | None:
        """Events of every tenant behind a seq; None when the store must be asked."""
        if after >= self._newest:
            return ()
        if not self._tail or self._tail[0].seq > after + 1:
            return None
        begin = bisect_right(self._tail, after, key=_seq)
        return self._tail[begin : begin + limit]

    async def follow(
        self,
        after: int,
        concerns: Callable[[Event], bool],
        read: Callable[[int, int], Awaitable[Sequence[Event]]],
        *,
        page: int,
        heartbeat_seconds: float,
    ) -> AsyncGenerator[tuple[Event | None, int], None]:
        """Each event behind a seq, then each new one, with the seq behind which to go on.

        None is a sign of life: the first one, and after so many seconds of nothing. Ends when the
        feed is closed, with nothing left out before.

        Args:
            after: Where to begin.
            concerns: Which events to give.
            read: Reads so many events behind a seq from the store.
            page: How many are taken at once.
            heartbeat_seconds: After how long of nothing to give a sign of life.
        """
        now = asyncio.get_running_loop().time
        with self.watch_all() as watcher:
            yield None, after
            heard = now()  # others' events wake the watch, but its caller hears nothing then
            while True:
                events = self.events_behind(after, page)
                if events is None:
                    events = await read(after, page)
                for event in events:
                    after = event.seq
                    if concerns(event):
                        yield event, after
                        heard = now()
                if not events:
                    if watcher.closed:
                        return
                    await watcher.wait(max(0.0, heard + heartbeat_seconds - now()))
                if now() >= heard + heartbeat_seconds:
                    yield None, after
                    heard = now()

    def close(self) -> None:
        """End every watch, and each one that still comes."""
        self._closed = True
        for watcher in self._everybody():
            watcher.closed = True
            watcher.wake()

    def _hand_out(self, events: Sequence[Event]) -> set[Watcher]:
        """Put events where else they belong, and say whom they wake."""
        return set(self._fleet)

    def _everybody(self) -> set[Watcher]:
        return self._fleet

    @contextmanager
    def _watching(self, watchers: set[Watcher]) -> Iterator[Watcher]:
        watcher = Watcher()
        watcher.closed = self._closed
        if self._closed:
            watcher.wake()
        watchers.add(watcher)
        try:
            yield watcher
        finally:
            watchers.discard(watcher)


class _Topic:
    """The watchers of one command and its newest events."""

    __slots__ = ("events", "watchers")

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self.events: deque[CommandEvent] = deque(maxlen=TOPIC_EVENTS)


class Hub(Feed[CommandEvent]):
    """The events of all commands, and of each one that is being watched."""

    def __init__(self) -> None:
        super().__init__()
        self._topics: dict[str, _Topic] = {}

    @contextmanager
    def watch_command(self, command_id: str) -> Iterator[Watcher]:
        """Be woken by this command's events."""
        topic = self._topics.setdefault(command_id, _Topic())
        with self._watching(topic.watchers) as watcher:
            try:
                yield watcher
            finally:
                if topic.watchers == {watcher}:
                    del self._topics[command_id]

    def events_of_command(
        self, command_id: str, after_revision: int
    ) -> Sequence[CommandEvent] | None:
        """The watched command's events behind a revision; None when the store must be asked.

        Revisions have no gaps, so that is the case when the next one is not here.
        """
        topic = self._topics.get(command_id)
        if topic is None or not topic.events:
            return None
        behind = after_revision + 1 - topic.events[0].revision
        if behind < 0:
            return None
        return list(islice(topic.events, behind, None))

    def _hand_out(self, events: Sequence[CommandEvent]) -> set[Watcher]:
        woken = set(self._fleet)
        for event in events:
            topic = self._topics.get(event.command.id)
            if topic is not None:
                if event.size > TOPIC_EVENT_BYTES:
                    topic.events.clear()
                else:
                    topic.events.append(event)
                woken |= topic.watchers
        return woken

    def _everybody(self) -> set[Watcher]:
        return self._fleet.union(*(topic.watchers for topic in self._topics.values()))


def _seq(event: Numbered) -> int:
    return event.seq


def _wake(watchers: Iterable[Watcher]) -> None:
    for watcher in watchers:
        watcher.wake()


def _end_wait(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
