"""The access control list of a mosquitto broker: every device its own topics, and no other's.

The topics are those of the codec, so a list that is printed anew has what a new release uses.
"""

from collections.abc import Iterable, Iterator, Mapping

from dockgate_server.codec import topics
from dockgate_server.codec.topics import Up

_TO_GATEWAY_DEVICES = (
    topics.services,
    topics.property_set,
    topics.drc_down,
    topics.events_reply,
    topics.requests_reply,
    topics.status_reply,
)
# A dock speaks for its drone over its own connection, under the drone's serial number. Beside osd
# and state there are events: they stand in recordings of a Dock 3.
_OF_SUB_DEVICES = (Up.OSD, Up.STATE, Up.EVENTS)

HEADER = """\
# The topics of each user of the broker: mosquitto's acl_file, printed by `dockgate devices acl`.
# The user of a dock or remote controller is its serial number. What stands in no line is refused.
# It has the devices that its caller may see: print it on the gateway's machine, or with a key
# without --device, and for each tenant.
"""

PARTIAL = """\
# NOT WHOLE: it was printed with a key that is limited to some devices. The others are locked out.
"""

_EVERY_DEVICE = """\
# Every dock and remote controller: its own topics. %u is the user, whom the password or the
# certificate has proven. %c, the client's identifier, would be the client's own choice.
"""

_EACH = """\
# A dock publishes for its drone under the drone's serial number, and a second connection for direct
# control (drc_mode_enter) has a user of its own. These pairs are what docks announced: any dock can
# announce any drone, so look at what has changed before you let it in.
"""


def write(
    sub_devices: Mapping[str, Iterable[str]],
    gateway_user: str = "dockgate",
    *,
    is_partial: bool = False,
) -> str:
    """The whole list.

    Args:
        sub_devices: The serial numbers of the drones of each dock or remote controller.
        gateway_user: As whom this gateway connects.
        is_partial: There may be others, which whoever prints it may not see.
    """
    parts = [
        HEADER + PARTIAL if is_partial else HEADER,
        "\n".join(_for_gateway(gateway_user)) + "\n",
        _EVERY_DEVICE + "\n".join(_for_every_device()) + "\n",
    ]
    blocks = ["\n".join(_for_device(one, sorted(sub_devices[one]))) for one in sorted(sub_devices)]
    if blocks:
        parts.append(_EACH + "\n\n".join(blocks) + "\n")
    return "\n".join(parts)


def _for_gateway(user: str) -> Iterator[str]:
    yield f"user {user}"
    yield from (f"topic read {up.value}" for up in Up)
    yield from (f"topic write {down('+')}" for down in _TO_GATEWAY_DEVICES)


def _for_every_device() -> Iterator[str]:
    yield from (f"pattern write {_of('%u', up)}" for up in Up)
    yield from (f"pattern read {down('%u')}" for down in _TO_GATEWAY_DEVICES)


def _for_device(gateway_id: str, sub_devices: Iterable[str]) -> Iterator[str]:
    yield f"user {gateway_id}"
    for one in sub_devices:
        yield from (f"topic write {_of(one, up)}" for up in _OF_SUB_DEVICES)
        yield f"topic read {topics.events_reply(one)}"
    yield f"user drc-{gateway_id}"
    yield f"topic write {_of(gateway_id, Up.DRC_UP)}"
    yield f"topic read {topics.drc_down(gateway_id)}"


def _of(serial_number: str, up: Up) -> str:
    return up.value.replace("+", serial_number)
