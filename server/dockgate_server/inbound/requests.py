"""What devices ask: recorded, and answered at once where the gateway can.

A request is acknowledged to the broker when it is recorded and, where the gateway answers it
itself, when its answer has been sent. So a crash in between brings it again, and no secret of an
answer has to be stored for that.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import orjson
import structlog

from dockgate_server.bridge.interface import Inbound
from dockgate_server.clock import Clock, pause
from dockgate_server.codec import envelope
from dockgate_server.codec.device_requests import is_known
from dockgate_server.codec.redaction import without_secrets
from dockgate_server.errors import DockgateError
from dockgate_server.inbound.repetition import repeat_key
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.lines import MOST_FROM_DEVICES, Lines
from dockgate_server.model.device import SERIAL_NUMBER
from dockgate_server.model.device_request import (
    Asked,
    DeviceRequest,
    NewRequest,
    Reply,
    ReplySource,
    RequestStatus,
    Routing,
)
from dockgate_server.providers import Answer, Providers
from dockgate_server.store.requests import DeviceRequests

_log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_LARGEST_PAYLOAD = 65_536
# Of a larger one so many members are kept, each with its name of so many bytes of JSON at most.
_MOST_MEMBERS, _LARGEST_MEMBER = 64, 1000
# More than the broker lets wait for an acknowledgement: only what it does not keep is dropped.
_MOST_AT_ONCE = 4000


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A request on its way to an answer."""

    asked: Asked
    shown: bytes
    """Its `data` as JSON, without secrets."""
    repeat_key: bytes | None
    """What it has in common with its repetitions alone; None when it can have none."""
    acknowledge: Callable[[], None]

    @property
    def about(self) -> dict[str, str]:
        """What the log says of it."""
        asked = self.asked
        return {"gateway": asked.gateway_id, "method": asked.method, "tid": asked.tid}


class Requests:
    """Records requests and has them answered.

    Args:
        store: Where they are recorded.
        providers: Who can answer.
        replies: Sends answers, and lets requests expire.
        clock: The time.
        answer_seconds: How long a request can be answered.
    """

    def __init__(
        self,
        store: DeviceRequests,
        providers: Providers,
        replies: RequestReplies,
        clock: Clock,
        answer_seconds: float,
    ) -> None:
        self._store = store
        self._providers = providers
        self._replies = replies
        self._clock = clock
        self._answer_ms = round(answer_seconds * 1000)
        self._of_no_use = Lines(MOST_FROM_DEVICES, clock)
        self._serving: dict[object, asyncio.Task[None]] = {}  # by what tells a repetition

    def handle(self, gateway_id: str, content: envelope.Envelope | None, message: Inbound) -> None:
        """See :data:`~dockgate_server.inbound.router.Handler`."""
        asked = _asked(gateway_id, content)
        if asked is None:
            self._of_no_use.write(_log.warning, "unanswerable_request", topic=message.topic)
            message.acknowledge()
            return
        shown = orjson.dumps(without_secrets(asked.data, known=is_known(asked.method)))
        key = repeat_key(asked.gateway_id, asked.tid, asked.bid, asked.method, shown)
        if key in self._serving:
            message.acknowledge()  # repeated before it was answered; the first one stands
            return
        if len(self._serving) >= _MOST_AT_ONCE:
            about = {"gateway": gateway_id, "method": asked.method}
            self._of_no_use.write(_log.warning, "request_dropped", **about)
            message.acknowledge()
            return
        arrived = _Arrived(asked, shown, key, message.acknowledge)
        serving = asyncio.create_task(self._serve(arrived), name="request")
        place = object() if key is None else key
        self._serving[place] = serving
        serving.add_done_callback(lambda _: self._serving.pop(place))

    async def close(self) -> None:
        """Leave what is being served; the broker brings it again."""
        serving = list(self._serving.values())
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, arrived: _Arrived) -> None:
        while True:
            try:
                await self._take(arrived)
                return
            except DockgateError as error:
                _log.warning("request_waits_for_the_store", **arrived.about, error=error.message)
                await pause(self._clock, _RETRY_SECONDS)
            except Exception as error:
                # A bug of ours. Going on is better than being stuck on this one for ever.
                _log.error("request_not_handled", **arrived.about, exc_info=error)
                arrived.acknowledge()
                return

    async def _take(self, arrived: _Arrived) -> None:
        key = arrived.repeat_key
        known = None if key is None else await self._store.find(key)
        if known is not None:
            await self._repeated(known, arrived)
            return
        answer = await self._providers.answer(arrived.asked)
        reply = None if answer is None else self._reply(answer)
        request = await self._store.record(self._new(arrived, answer), reply)
        if answer is None:
            _log.info("request_waits_for_an_answer", **arrived.about, request_id=request.id)
            self._replies.expect(request)
            arrived.acknowledge()
        else:
            _log.info("request_answered", **arrived.about, result=answer.code, by=answer.by)
            self._replies.send(request, orjson.dumps(answer.data), then=arrived.acknowledge)

    async def _repeated(self, known: DeviceRequest, arrived: _Arrived) -> None:
        """Answer once more, in the same way; a request that waits goes on waiting."""
        if known.status is RequestStatus.PENDING or self._replies.is_sending(known.id):
            arrived.acknowledge()
            return
        data = None
        if known.reply_source is ReplySource.AUTO:
            answer = await self._providers.answer(arrived.asked)
            data = None if answer is None else orjson.dumps(answer.data)
        elif not known.is_abridged:
            data = known.reply
        if data is None:
            # The provider is gone, or the secrets in the answer of a person are not kept.
            _log.warning("repeated_request_not_answered", **arrived.about)
            arrived.acknowledge()
            return
        self._replies.send(known, data, is_repeated=True, then=arrived.acknowledge)

    def _new(self, arrived: _Arrived, answer: Answer | None) -> NewRequest:
        asked, payload = arrived.asked, arrived.shown
        if len(payload) > _LARGEST_PAYLOAD:
            _log.warning("request_kept_in_part", **arrived.about, bytes=len(payload))
            shown = without_secrets(asked.data, known=is_known(asked.method))
            payload = orjson.dumps(_in_part(shown))
        now = self._clock.now_ms()
        return NewRequest(
            id=str(uuid.uuid4()),
            gateway_id=asked.gateway_id,
            request_type=asked.method,
            tid=asked.tid,
            bid=asked.bid,
            payload=payload,
            routing=Routing.INBOX if answer is None else Routing.AUTO,
            received_at=now,
            expires_at=now + self._answer_ms,
            repeat_key=arrived.repeat_key,
        )

    def _reply(self, answer: Answer) -> Reply:
        shown = without_secrets(dict(answer.data))
        return Reply(
            code=answer.code,
            message=answer.message,
            source=ReplySource.AUTO,
            shown=orjson.dumps(shown),
            is_abridged=shown != answer.data,
            by=answer.by,
            at=self._clock.now_ms(),
        )


def _asked(gateway_id: str, content: envelope.Envelope | None) -> Asked | None:
    """The request, unless it could not be answered: an answer is told by tid and method."""
    if content is None or not content.tid or not content.method:
        return None
    longest = max(map(len, (content.tid, content.bid, content.method)))
    if longest > envelope.LONGEST_NAME or not SERIAL_NUMBER.fullmatch(gateway_id):
        return None
    return Asked(gateway_id, content.method, content.tid, content.bid, content.data)


def _in_part(data: object) -> dict[str, object] | None:
    """The small members of `data` that is too large, and null for the others; None for no object.

    Whoever answers sees which request it is, and that there was more to it.
    """
    if not isinstance(data, dict):
        return None
    kept: dict[str, object] = {}
    for name, value in islice(data.items(), _MOST_MEMBERS):
        for shown in (value, None):
            if len(orjson.dumps({name: shown})) <= _LARGEST_MEMBER:
                kept[name] = shown
                break
    return kept
