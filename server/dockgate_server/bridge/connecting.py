"""What a connection asks of the broker in its CONNECT."""

from typing import Any, Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

RECEIVE_MAXIMUM: Final = 2000
"""Inbound messages that may be unacknowledged at once; beyond it the broker holds back, which
keeps a slow store from drowning."""

LARGEST_PACKET: Final = 1_048_576
"""Bytes of the largest message that the broker may bring us (MQTT 5); it throws larger ones away.
No device has that much to say, and what one makes up would have to be read whole."""


def session_options(*, is_v5: bool, session_expiry_seconds: int) -> dict[str, Any]:
    """What :class:`aiomqtt.Client` is told so that the broker keeps our session."""
    if not is_v5:
        return {"clean_session": False}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_expiry_seconds
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    properties.MaximumPacketSize = LARGEST_PACKET
    # MQTT 5 begins with a clean session unless told otherwise.
    return {"clean_start": False, "properties": properties}
