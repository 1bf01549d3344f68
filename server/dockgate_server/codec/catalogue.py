"""Every method that the gateway can send, read from the schema.

Nothing about a method is written down here: the catalogue walks the arms of
``dockgate.dji.v1.Method`` and reads the ``MethodSpec`` option of each.
"""

import difflib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from dockgate.dji.v1 import event_pb2, method_pb2, options_pb2, raw_pb2, reply_pb2
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.command import OfflinePolicy

RAW = "raw_method"
"""The arm of a method that the schema does not have."""

_OF_THE_GATEWAY = frozenset(
    {
        options_pb2.DOMAIN_UNSPECIFIED,  # raw methods: nobody knows
        options_pb2.DOMAIN_DEVICE,
        options_pb2.DOMAIN_FILE,
        options_pb2.DOMAIN_FIRMWARE,
    }
)
"""What the methods are about that do something to the gateway device itself."""

_FOR_NOW = frozenset(
    {
        options_pb2.DOMAIN_UNSPECIFIED,
        options_pb2.DOMAIN_WAYLINE,
        options_pb2.DOMAIN_CAMERA,
        options_pb2.DOMAIN_DRC,
    }
)

DEFAULT_JOB_SILENCE_SECONDS = 60
"""For methods whose spec says nothing else; real docks report every few seconds."""

DEFAULT_TIMEOUT_SECONDS = 30
"""For methods whose spec names no timeout. Source: open-api contract."""


@dataclass(frozen=True, slots=True)
class ProgressLink:
    """How an event is tied to the commands whose job it reports."""

    event: str
    event_key: str
    """``bid``, or a member of the event's data."""
    command_type: str
    request_field: str
    """The field of the command's message with the same key; empty for the bid we sent."""
    may_stay_away: bool
    """The device may do without ever reporting a job."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its message and what the gateway has to know about it."""

    name: str
    descriptor: Descriptor
    spec: options_pb2.MethodSpec
    progress: tuple[ProgressLink, ...]

    @property
    def default_timeout_seconds(self) -> int:
        """Seconds to wait for an answer when the caller does not say."""
        return self.spec.default_timeout_seconds or DEFAULT_TIMEOUT_SECONDS

    @property
    def job_silence_seconds(self) -> int:
        """After so many seconds without a report a job of the method counts as stalled."""
        return self.spec.job_silence_seconds or DEFAULT_JOB_SILENCE_SECONDS

    @property
    def is_for_the_device(self) -> bool:
        """Whether it does nothing to the dock or remote controller that carries it."""
        return self.spec.domain not in _OF_THE_GATEWAY

    @property
    def offline_policy(self) -> OfflinePolicy:
        """What becomes of a command while its gateway device is away, if the caller is silent.

        Flying, filming and steering are for now; so is whatever is dangerous or an emergency, and
        a raw method, of which nothing is known.
        """
        spec = self.spec
        is_for_now = spec.domain in _FOR_NOW or spec.channel == options_pb2.CHANNEL_DRC
        if is_for_now or spec.dangerous or spec.overtakes:
            return OfflinePolicy.FAIL_FAST
        return OfflinePolicy.QUEUE

    @property
    def always_reports_a_job(self) -> bool:
        """Whether a success is always followed by the reports of a job."""
        return any(not link.may_stay_away for link in self.progress)

    def job_key(self, message: Message, command_id: str) -> str | None:
        """The key that progress events will carry for this command; None when it starts no job."""
        for link in self.progress:
            key = getattr(message, link.request_field) if link.request_field else command_id
            return str(key) or None
        return None


def _read() -> Iterator[tuple[str, Method]]:
    for field in method_pb2.Method.DESCRIPTOR.oneofs_by_name["method"].fields:
        if field.name == RAW:
            continue
        descriptor = field.message_type
        assert descriptor is not None, "every arm is a message; a test holds the schema to it"
        spec = descriptor.GetOptions().Extensions[options_pb2.method_spec]
        if not (spec.channel and spec.domain):
            raise AssertionError(f"{descriptor.full_name} has no complete method_spec")
        links = tuple(
            ProgressLink(
                event.method,
                event.event_key,
                field.name,
                event.request_field,
                event.may_stay_away,
            )
            for event in spec.progress
        )
        yield field.name, Method(field.name, descriptor, spec, links)


_RAW_CHANNELS = {
    "services": options_pb2.CHANNEL_SERVICES,
    "property_set": options_pb2.CHANNEL_PROPERTY_SET,
    "drc": options_pb2.CHANNEL_DRC,
}

REPLIES: Mapping[str, Descriptor] = {
    field.name: field.message_type
    for field in reply_pb2.Reply.DESCRIPTOR.oneofs_by_name["reply"].fields
    if field.message_type is not None
}
"""The typed replies, by method."""

EVENTS: Mapping[str, Descriptor] = {
    field.name: field.message_type
    for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["event"].fields
    if field.message_type is not None
}
"""The typed events, by DJI's name."""

METHODS: Mapping[str, Method] = dict(_read())
"""Every method by its DJI name."""

EMERGENCIES = frozenset(one.name for one in METHODS.values() if one.spec.overtakes)
"""The methods that go before all others, such as a stop."""

CONTROL_STREAMS = frozenset(one.name for one in METHODS.values() if one.spec.control_stream)
"""The methods that are sent at a rate, past all others, and have no answer."""


@functools.cache
def undone_behind(command_type: str) -> frozenset[str]:
    """The methods behind which this one must not be sent again, as it would undo them.

    Itself, and its inverse; for what is dangerous, and for what the schema does not have, "": all.
    """
    method = METHODS.get(command_type)
    if method is None or method.spec.dangerous:
        return frozenset({""})
    inverses = {one.name for one in METHODS.values() if one.spec.inverse == command_type}
    return frozenset({command_type, *inverses, method.spec.inverse} - {""})


PROGRESS: Mapping[str, tuple[ProgressLink, ...]] = {
    event: tuple(
        link for method in METHODS.values() for link in method.progress if link.event == event
    )
    for event in {link.event for method in METHODS.values() for link in method.progress}
}
"""For each progress event, the methods whose jobs it may report."""


def raw(message: raw_pb2.RawMethod) -> Method:
    """A method that the schema does not have, as its caller describes it.

    Raises:
        DockgateError: UNSUPPORTED_COMMAND, for one that the schema has: it must not get around
            the rules. Nor must a property, which the device knows by the members of the data.
    """
    channel = _RAW_CHANNELS.get(message.channel, options_pb2.CHANNEL_UNSPECIFIED)
    names = [message.method]
    if channel == options_pb2.CHANNEL_PROPERTY_SET:
        names += sorted(message.data.fields)
    for name in names:
        if name in METHODS:
            raise DockgateError(
                Reason.UNSUPPORTED_COMMAND,
                f"the schema has {name!r}: submit it as itself, not as raw_method",
                metadata={"command_type": name},
            )
    spec = options_pb2.MethodSpec(
        channel=channel,
        empty_data=options_pb2.EMPTY_DATA_NULL,
        seq=options_pb2.SEQ_FORM_TOP_LEVEL,
    )
    return Method(message.method, message.DESCRIPTOR, spec, ())


def find(name: str) -> Method:
    """The method of that name.

    Raises:
        DockgateError: UNSUPPORTED_COMMAND, with the closest names there are.
    """
    method = METHODS.get(name)
    if method is not None:
        return method
    metadata = {"command_type": name}
    message = f"there is no method {name!r}"
    close = difflib.get_close_matches(name, METHODS, n=1)
    if close:
        metadata["did_you_mean"] = close[0]
        message += f"; did you mean {close[0]!r}?"
    raise DockgateError(Reason.UNSUPPORTED_COMMAND, message, metadata=metadata)
