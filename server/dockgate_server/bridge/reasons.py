"""What a PUBACK says by its reason code, or would say."""

from functools import cache
from typing import Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from dockgate_server import mqtt
from dockgate_server.bridge.interface import Acknowledgement, Verdict

_NO_MATCHING_SUBSCRIBERS: Final = 0x10


@cache
def acknowledgement(code: int) -> Acknowledgement:
    """What it says, and the code in words.

    Raises:
        KeyError, ValueError: MQTT has no such code, or not for a PUBACK.
    """
    reason = str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    if mqtt.is_error(code):
        return Acknowledgement(Verdict.REFUSED, reason)
    if code == _NO_MATCHING_SUBSCRIBERS:
        return Acknowledgement(Verdict.NOBODY_LISTENS, reason)
    return Acknowledgement(Verdict.TAKEN, reason)


def too_large(size: int, limit: int) -> Acknowledgement:
    """What a broker would say, which has said beforehand how large a message may be."""
    return Acknowledgement(Verdict.REFUSED, f"Packet too large: {size} bytes, it takes {limit}")
