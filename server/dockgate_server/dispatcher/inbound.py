"""What devices say: replies end commands, events carry jobs forward, topologies are learnt.

A message is acknowledged to the broker only when what it caused is committed, so a crash in
between brings it again. Whatever a device sends, nothing here raises.
"""

import asyncio

import orjson
import structlog

from dockgate.dji.v1 import options_pb2
from dockgate_server.bridge.interface import Bridge, Inbound
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, envelope, topics
from dockgate_server.devices import Registry
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Channel
from dockgate_server.model.job import read_job
from dockgate_server.model.reply import Reply
from dockgate_server.model.transitions import RecordJob, RecordReply, Unmatched

_log = structlog.get_logger(__name__)

_REPLY_CHANNELS = {
    topics.Up.SERVICES_REPLY: Channel.SERVICES,
    topics.Up.SET_REPLY: Channel.PROPERTY_SET,
    topics.Up.DRC_UP: Channel.DRC,
}

_OK = b'{"result":0}'


class InboundRouter:
    """Takes every message that the bridge receives to where it belongs."""

    def __init__(
        self,
        bridge: Bridge,
        registry: Registry,
        recorder: Recorder,
        clock: Clock,
        *,
        raw_methods: bool = False,
    ) -> None:
        self._bridge = bridge
        self._registry = registry
        self._recorder = recorder
        self._clock = clock
        self._raw_methods = raw_methods

    def receive(self, message: Inbound) -> None:
        """Handle one message; it is acknowledged when its effect is committed."""
        where = topics.parse(message.topic)
        if where is None:
            _log.warning("unexpected_topic", topic=message.topic)
            message.acknowledge()
            return
        kind, sender = where
        content = envelope.read(message.payload)
        if kind in _REPLY_CHANNELS:
            self._reply(sender, _REPLY_CHANNELS[kind], content, message)
        elif content is None:
            _log.warning("unreadable_message", topic=message.topic)
            message.acknowledge()
        elif kind is topics.Up.EVENTS:
            self._event(sender, content, message)
        else:
            self._status(sender, content, message)

    def _reply(
        self,
        gateway_id: str,
        channel: Channel,
        content: envelope.Envelope | None,
        message: Inbound,
    ) -> None:
        now = self._clock.now_ms()
        if channel is Channel.DRC and content is not None:
            if not self._answers_drc(content):
                message.acknowledge()  # one of the pushes that share the topic
                return
        elif content is None or not content.tid:
            unreadable = "the message is not a JSON object, or is nested too deep"
            reason = unreadable if content is None else "the reply has no tid"
            method = (content and content.method) or ""
            unmatched = Unmatched(gateway_id, "", method, reason, message.payload, now)
            self._recorder.record(unmatched, message.acknowledge)
            return
        reply = Reply(
            gateway_id=gateway_id,
            tid=content.tid,
            method=content.method,
            data=content.data,
            raw_data=orjson.dumps(content.data),
            received_at=now,
            channel=channel,
            seq=content.seq,
        )
        self._recorder.record(RecordReply(reply), message.acknowledge)

    def _answers_drc(self, content: envelope.Envelope) -> bool:
        """Whether it may be an answer; most of what comes up are pushes."""
        known = catalogue.METHODS.get(content.method or "")
        if known is None:
            has_result = isinstance(content.data, dict) and "result" in content.data
            return self._raw_methods and content.seq is not None and has_result
        is_drc = known.spec.channel == options_pb2.CHANNEL_DRC
        return is_drc and known.spec.reply != options_pb2.REPLY_KIND_NONE

    def _event(self, gateway_id: str, content: envelope.Envelope, message: Inbound) -> None:
        job = read_job(content.data, self._clock.now_ms())
        keys: dict[str, list[str]] = {}
        for link in catalogue.PROGRESS.get(content.method or "", ()):
            for key in _keys(content, link.event_key):
                keys.setdefault(key, []).append(link.command_type)
        if job is None or not keys:
            message.acknowledge()
            return

        def done() -> None:
            message.acknowledge()
            if content.need_reply:
                self._answer(topics.events_reply(gateway_id), content)

        *others, last = keys.items()
        for key, methods in others:
            self._recorder.record(RecordJob(gateway_id, tuple(methods), key, job))
        self._recorder.record(RecordJob(gateway_id, tuple(last[1]), last[0], job), done)

    def _status(self, gateway_id: str, content: envelope.Envelope, message: Inbound) -> None:
        if content.method != "update_topo":
            _log.info("unknown_status_method", gateway=gateway_id, method=content.method)
            message.acknowledge()
            return
        topology = self._registry.read_topology(gateway_id, content.data, self._clock.now_ms())
        if topology is None:
            _log.warning("unreadable_topology", gateway=gateway_id)
            message.acknowledge()
            return
        learnt = self._registry.learn(topology)

        def done(learnt: "asyncio.Future[None]") -> None:
            if learnt.cancelled() or learnt.exception() is not None:
                return  # not answered: the dock says it again
            message.acknowledge()
            if content.tid:
                self._answer(topics.status_reply(gateway_id), content)

        learnt.add_done_callback(done)

    def _answer(self, topic: str, content: envelope.Envelope) -> None:
        """Tell the device that its message has arrived; it repeats what is not answered."""
        payload = envelope.write(
            tid=content.tid,
            bid=content.bid,
            method=content.method or "",
            data=_OK,
            timestamp=self._clock.now_ms(),
        )
        self._bridge.answer(topic, payload)


def _keys(content: envelope.Envelope, event_key: str) -> tuple[str, ...]:
    """The jobs that an event is about, under the name its method has for them."""
    if event_key == "bid":
        value: object = content.bid
    else:
        value = content.data.get(event_key) if isinstance(content.data, dict) else None
    values = value if isinstance(value, list) else [value]
    return tuple(one for one in values if isinstance(one, str) and one)
