"""Answers on their way to devices, and the end of requests that nobody answers in time.

One answer at a time is on its way to the broker: what the broker lets wait for its
acknowledgement is needed for commands.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from dockgate_server.bridge.interface import Acknowledgement, Bridge, NotConnected, Verdict
from dockgate_server.clock import Clock, Handle
from dockgate_server.codec import envelope, topics
from dockgate_server.errors import DockgateError
from dockgate_server.model.audit import Entry
from dockgate_server.model.device_request import DeviceRequest, Reply, ReplySource
from dockgate_server.sealing import SealingProblem, Vault
from dockgate_server.store.requests import DeviceRequests

_log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_LATE = "the broker did not take it in time"


def _nothing() -> None:
    pass


@dataclass(slots=True)
class _Unsent:
    """An answer that the broker has not taken yet."""

    request: DeviceRequest
    data: bytes
    deadline: float
    is_repeated: bool
    then: Callable[[], None]
    is_held: bool = False
    """Nobody listened; it is tried again a moment later."""


class RequestReplies:
    """Sends answers, in the order in which they were given.

    Args:
        bridge: The way to the devices.
        store: The record of requests.
        clock: The time.
        vault: Seals answers until they are sent.
        answer_seconds: How long a request can be answered.
    """

    def __init__(
        self,
        bridge: Bridge,
        store: DeviceRequests,
        clock: Clock,
        vault: Vault,
        answer_seconds: float,
    ) -> None:
        self._bridge = bridge
        self._store = store
        self._clock = clock
        self._vault = vault
        self._answer_seconds = answer_seconds
        self._unsent: dict[str, _Unsent] = {}
        self._in_flight: _Unsent | None = None
        self._overdue: dict[str, Handle] = {}

    async def recover(self) -> None:
        """Take up what an earlier process has left: who waits, and what was not sent."""
        for request in await self._store.waiting():
            self.expect(request)
        for request, sealed in await self._store.unsent():
            try:
                data = self._vault.unseal(request.id, sealed)
            except SealingProblem as problem:
                _log.error("answer_cannot_be_opened", request_id=request.id, problem=str(problem))
                self._record(partial(self._store.not_sent, request.id))
            else:
                self.send(request, data)

    def expect(self, request: DeviceRequest) -> None:
        """Let a request expire in time, unless it is answered before."""
        self._end_at(request, self._deadline(request))

    def answer(
        self, request_id: str, reply: Reply, data: bytes, audit: Entry | None = None
    ) -> asyncio.Future[DeviceRequest | None]:
        """Record an answer and send it; None when the request does not wait for one.

        What happens behind the record does not depend on the asker: cancelling the await neither
        takes the answer back nor leaves it unsent.
        """
        sealed = self._vault.seal(request_id, data)
        answering = self._store.answer(request_id, reply, sealed, audit)
        answering.add_done_callback(partial(self._answered, data))
        return asyncio.shield(answering)

    def send(
        self,
        request: DeviceRequest,
        data: bytes,
        *,
        is_repeated: bool = False,
        then: Callable[[], None] = _nothing,
    ) -> None:
        """Send an answer that is recorded.

        Args:
            request: What is answered.
            data: The whole `data` of the answer.
            is_repeated: It was sent before. It then has as long as a new one, and its fate is
                not recorded.
            then: Called when the broker has taken it, or it is too late.
        """
        deadline = self._deadline(request)
        if is_repeated:
            deadline = self._clock.monotonic() + self._answer_seconds
        self._unsent[request.id] = _Unsent(request, data, deadline, is_repeated, then)
        self._end_at(request, deadline)
        self._send_next()

    def is_sending(self, request_id: str) -> bool:
        """Whether an answer to the request is on its way."""
        return request_id in self._unsent

    def connection_changed(self) -> None:
        """The bridge can publish, or no longer can."""
        self._send_next()

    def close(self) -> None:
        """Let nothing expire any more; what is unsent is sent after the restart."""
        for handle in self._overdue.values():
            handle.cancel()
        self._overdue.clear()

    def _deadline(self, request: DeviceRequest) -> float:
        """On the monotonic clock; the wall clock may have stepped since the request came."""
        left = (request.expires_at - self._clock.now_ms()) / 1000
        return self._clock.monotonic() + min(max(left, 0.0), self._answer_seconds)

    def _end_at(self, request: DeviceRequest, deadline: float) -> None:
        self._forget_end(request.id)
        end = partial(self._ended, request)
        self._overdue[request.id] = self._clock.call_at(deadline, end)

    def _forget_end(self, request_id: str) -> None:
        if (handle := self._overdue.pop(request_id, None)) is not None:
            handle.cancel()

    def _ended(self, request: DeviceRequest) -> None:
        self._overdue.pop(request.id, None)
        unsent = self._unsent.get(request.id)
        if unsent is None:
            about = {"gateway": request.gateway_id, "method": request.request_type}
            _log.warning("request_expired", **about, request_id=request.id)
            self._record(partial(self._store.expire, request.id))
        elif unsent is not self._in_flight:  # which may still arrive
            self._give_up(unsent, _LATE)

    def _answered(self, data: bytes, answering: "asyncio.Future[DeviceRequest | None]") -> None:
        if answering.cancelled() or answering.exception() is not None:
            return
        if (request := answering.result()) is not None:
            self.send(request, data)

    def _send_next(self) -> None:
        ready = (one for one in self._unsent.values() if not one.is_held)
        one = next(ready, None)
        if one is None or self._in_flight is not None or not self._bridge.connected:
            return
        try:
            sent = self._publish(one)
        except NotConnected:
            return  # the bridge says when it is connected again
        self._in_flight = one
        sent.add_done_callback(partial(self._acknowledged, one))

    def _publish(self, one: _Unsent) -> "asyncio.Future[Acknowledgement]":
        request = one.request
        left = one.deadline - self._clock.monotonic()
        payload = envelope.write(
            tid=request.tid,
            bid=request.bid,
            method=request.request_type,
            data=one.data,
            timestamp=self._clock.now_ms(),
        )
        topic = topics.requests_reply(request.gateway_id)
        return self._bridge.publish(topic, payload, max(1, int(left)))

    def _acknowledged(self, one: _Unsent, sent: "asyncio.Future[Acknowledgement]") -> None:
        self._in_flight = None
        if sent.cancelled():
            return
        # While it was on its way its end has passed it by.
        is_late = one.deadline <= self._clock.monotonic()
        if sent.exception() is not None:
            # It may have left. Sent again, it has the same tid.
            if is_late:
                self._give_up(one, _LATE)
        else:
            match sent.result().verdict:
                case Verdict.TAKEN:
                    self._taken(one)
                case Verdict.NOBODY_LISTENS if is_late:
                    self._give_up(one, _LATE)
                case Verdict.NOBODY_LISTENS:
                    self._hold(one)  # a dock that comes back subscribes a moment later
                case Verdict.REFUSED:
                    self._give_up(one, f"the broker refused it: {sent.result().reason}")
        self._send_next()

    def _taken(self, one: _Unsent) -> None:
        self._done(one)
        if one.is_repeated or one.request.reply_source is ReplySource.AUTO:
            one.then()  # nothing was kept for it
        else:
            self._record(partial(self._store.sent, one.request.id), one.then)

    def _hold(self, one: _Unsent) -> None:
        one.is_held = True

        def again() -> None:
            one.is_held = False
            self._send_next()

        self._clock.call_at(self._clock.monotonic() + _RETRY_SECONDS, again)

    def _give_up(self, one: _Unsent, why: str) -> None:
        about = {"gateway": one.request.gateway_id, "method": one.request.request_type}
        _log.warning("request_reply_not_sent", **about, request_id=one.request.id, reason=why)
        self._done(one)
        if one.is_repeated:
            one.then()
        else:
            self._record(partial(self._store.not_sent, one.request.id), one.then)

    def _done(self, one: _Unsent) -> None:
        self._unsent.pop(one.request.id, None)
        self._forget_end(one.request.id)

    def _record(
        self, change: "Callable[[], asyncio.Future[Any]]", then: Callable[[], None] = _nothing
    ) -> None:
        """Make a change until the store has taken it."""

        def taken(done: "asyncio.Future[Any]") -> None:
            if done.cancelled():
                return
            error = done.exception()
            if isinstance(error, DockgateError):
                when = self._clock.monotonic() + _RETRY_SECONDS
                self._clock.call_at(when, lambda: self._record(change, then))
                return
            if error is not None:
                # A bug of ours. Going on is better than being stuck on this one for ever.
                _log.error("request_not_recorded", exc_info=error)
            then()

        change().add_done_callback(taken)
