"""The messages that real devices and their platforms exchanged, as they were recorded.

``real_traffic.jsonl`` has one in each line: mostly one flight of a dock, whose publisher made the
serial numbers anonymous, beside what others reported of their own. Its ``flags`` say what is odd
about a message.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and what sent or was sent it."""

    topic: str
    payload: dict[str, Any]
    device: str
    flags: tuple[str, ...]

    @property
    def content(self) -> bytes:
        """The payload as it is published."""
        return orjson.dumps(self.payload)

    @property
    def gateway_id(self) -> str:
        """The serial number in the topic."""
        return self.topic.split("/")[2]

    @property
    def is_reply(self) -> bool:
        """Whether it answers a command."""
        return self.topic.endswith("/services_reply")


def _read(file: Path) -> tuple[Message, ...]:
    lines = file.read_bytes().splitlines()
    values = [orjson.loads(line) for line in lines]
    return tuple(Message(**{**one, "flags": tuple(one["flags"])}) for one in values)


MESSAGES: Final = _read(Path(__file__).with_name("real_traffic.jsonl"))
REPLIES: Final = tuple(message for message in MESSAGES if message.is_reply)
"""Those that answer commands; each tid occurs once."""
