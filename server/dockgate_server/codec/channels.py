"""How a command travels: on which topic, and in which form.

Source: DJI's topic definition and DRC pages. ``services`` and ``property/set`` carry tid and bid;
a property names itself in ``data`` and has no method; DRC has neither tid nor bid, but a
sequence number beside ``data``, or the time where a method has none.
"""

import orjson

from dockgate.dji.v1 import options_pb2
from dockgate_server.codec import catalogue, envelope, topics
from dockgate_server.model.command import Channel, Command

BY_OPTION = {
    options_pb2.CHANNEL_SERVICES: Channel.SERVICES,
    options_pb2.CHANNEL_PROPERTY_SET: Channel.PROPERTY_SET,
    options_pb2.CHANNEL_DRC: Channel.DRC,
}
"""The channel of a MethodSpec."""


def compose(command: Command, timestamp: int) -> tuple[str, bytes]:
    """The topic and the message that carry a command.

    Args:
        command: What is to be sent.
        timestamp: UTC milliseconds since 1970.
    """
    if command.channel is Channel.DRC:
        return topics.drc_down(command.gateway_id), _drc(command, timestamp)
    is_property = command.channel is Channel.PROPERTY_SET
    message = envelope.write(
        tid=command.id,
        bid=command.id,
        method=None if is_property else command.command_type,
        data=command.data,
        timestamp=timestamp,
    )
    topic = topics.property_set if is_property else topics.services
    return topic(command.gateway_id), message


def has_sequence_number(command_type: str) -> bool:
    """Whether a DRC method's answer is found by its number; if not, one at a time is sent."""
    method = catalogue.METHODS.get(command_type)
    return method is None or method.spec.seq != options_pb2.SEQ_FORM_UNSPECIFIED


def _drc(command: Command, timestamp: int) -> bytes:
    data = orjson.Fragment(command.data)
    if has_sequence_number(command.command_type):
        values = {"seq": command.seq, "method": command.command_type, "data": data}
    else:
        values = {"method": command.command_type, "data": data, "timestamp": timestamp}
    return orjson.dumps(values)
