"""Answers of devices to commands, by whichever channel they come."""

from functools import partial

import orjson

from dockgate.dji.v1 import options_pb2
from dockgate_server.bridge.interface import Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, envelope, redaction
from dockgate_server.dispatcher.outstanding import Outstanding
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.inbound.room import Room
from dockgate_server.model.command import Channel
from dockgate_server.model.reply import Reply, in_short
from dockgate_server.model.transitions import RecordReply, Unmatched

LARGEST_KEPT = 131_072
"""Bytes of a reply's `data` that are kept. An event of a command may tell of two replies, and of
one of them twice: in a message they take 13 times as much at most, and clients take 4 MiB."""

_KNOWN = catalogue.METHODS.keys() | {None}


class Replies:
    """Records the answers that come by one channel.

    Args:
        channel: Which.
        recorder: Records them until the store has taken them.
        clock: The time.
        outstanding: Knows which commands had left when an answer came.
        room: For answers that the broker does not keep while the store takes nothing. Beyond it
            they are lost, and the deadlines of their commands decide.
        raw_methods: Take answers to DRC methods that the schema does not have.
    """

    def __init__(
        self,
        channel: Channel,
        recorder: Recorder,
        clock: Clock,
        outstanding: Outstanding,
        room: Room,
        *,
        raw_methods: bool = False,
    ) -> None:
        self._channel = channel
        self._recorder = recorder
        self._clock = clock
        self._outstanding = outstanding
        self._room = room
        self._raw_methods = raw_methods

    def handle(self, gateway_id: str, content: envelope.Envelope | None, message: Inbound) -> None:
        """See :data:`~dockgate_server.inbound.router.Handler`."""
        now = self._clock.now_ms()
        # One that names no method is mostly of a known one.
        is_known = content is not None and content.method in _KNOWN
        if self._channel is Channel.DRC and content is not None:
            if not self._answers_drc(content):
                message.acknowledge()  # one of the pushes that share the topic
                return
        elif content is None or not content.tid:
            unreadable = "the message is not a JSON object, or is nested too deep"
            reason = unreadable if content is None else "the reply has no tid"
            method = (content and content.method) or ""
            payload = message.payload
            if redaction.may_hold_secrets(payload):
                if content is not None and not content.flaw:
                    whole = redaction.without_secrets(orjson.loads(payload), known=is_known)
                    payload = orjson.dumps(whole)
                else:
                    # What cannot be read as a whole cannot be told apart either.
                    reason = f"{reason}; its {len(payload)} bytes may hold secrets and are not kept"
                    payload = b""
            self._record(Unmatched(gateway_id, "", method, reason, payload, now), message)
            return
        shown = redaction.without_secrets(content.data, known=is_known)
        raw_data, note = orjson.dumps(shown), ""
        if content.flaw:
            note = f"the reply {content.flaw}"
        elif len(raw_data) > LARGEST_KEPT:
            note = f"the reply's data had {len(raw_data)} bytes"
        if note:
            note += "; of it only result, code, message, msg and description are kept"
            raw_data = orjson.dumps(in_short(shown))
        reply = Reply(
            gateway_id=gateway_id,
            tid=content.tid,
            method=content.method,
            data=content.data,
            raw_data=raw_data,
            received_at=now,
            channel=self._channel,
            seq=content.seq,
            note=note,
        )
        among = self._outstanding.of(gateway_id, content.method or "")
        self._record(RecordReply(reply, among), message)

    def _record(self, fact: RecordReply | Unmatched, message: Inbound) -> None:
        then = message.acknowledge
        if not message.comes_again:
            size = len(message.payload)
            if not self._room.take(size):
                return
            then = partial(self._room.free, size)
        self._recorder.record(fact, then)

    def _answers_drc(self, content: envelope.Envelope) -> bool:
        """Whether it may be an answer; most of what comes up are pushes."""
        known = catalogue.METHODS.get(content.method or "")
        if known is None:
            has_result = isinstance(content.data, dict) and "result" in content.data
            return self._raw_methods and content.seq is not None and has_result
        is_drc = known.spec.channel == options_pb2.CHANNEL_DRC
        return is_drc and known.spec.reply != options_pb2.REPLY_KIND_NONE
