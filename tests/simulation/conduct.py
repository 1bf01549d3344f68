"""What the gateway does: every publish and every acknowledgement, and whether it may."""

from typing import Any

import orjson

from dockgate_server.codec import catalogue
from simulation.life import Life
from simulation.record import NOTED_REPLIES, REACHED_NOBODY, Record
from simulation.wire import Message
from simulation.world import World

_TOLERANCE = 0.002
"""Seconds: the wall clock counts in milliseconds."""


class Conduct:
    """Watches the gateway's side of the wire, and the docks' end of it.

    Args:
        world: Time, and where violations are told.
        record: What has been committed.
    """

    def __init__(self, world: World, record: Record) -> None:
        self._world = world
        self._record = record
        self._newest_published: dict[str, int] = {}
        self.publishes = 0

    def publishing(self, message: Message, expiry_seconds: int) -> None:
        """A command is handed to the network."""
        self.publishes += 1
        life = self._carried_by(message)
        if life is None:
            self._world.violate(f"published what is no command: {message.payload!r}")
            return
        if self._world.trace is not None:
            self._world.note("publish", str(life), f"expires after {expiry_seconds} s")
        wrong = self._wrong_to_publish(life)
        if wrong:
            self._world.violate(f"{life} was published {wrong}")
        if expiry_seconds > max(1.0, life.due[1] - self._world.now + _TOLERANCE):
            self._world.violate(f"{life} would live for {expiry_seconds} s, beyond its deadline")
        life.messages.append(message)
        life.used_intents = life.intents
        message.life = life
        message.due = life.due[1]

    def acknowledging(self, message: Message) -> None:
        """The gateway lets the broker forget a message; all that it causes is committed."""
        said = message.said
        if said is None or said.number in self._record.recorded:
            return
        life = said.life
        if life is None:
            return  # a topology: the dock says again what is not answered
        if said.kind == "job":
            if not life.job_is_over:
                self._world.violate(f"{life}: a report was acknowledged and not recorded")
        elif life.replies < NOTED_REPLIES:
            self._world.violate(f"{life}: a reply was acknowledged and not recorded")

    def answering(self, message: Message) -> None:
        """The gateway tells a dock that it need not say something again."""
        said = self._record.said[int(orjson.loads(message.payload)["tid"][1:])]
        if said.kind == "topology":
            saved = (message.topic.split("/", 3)[2], f"3-1-{said.number}")
            if saved not in self._record.disk.saved_models:
                self._world.violate(f"answered and not saved: {message.payload!r}")
            return
        is_over = said.life is not None and said.life.job_is_over
        if not is_over and said.number not in self._record.recorded:
            self._world.violate(f"{said.life}: a report was answered and not recorded")

    def handing_over(self, message: Message) -> None:
        """The broker begins to hand a command to its dock."""
        life = message.life
        if life is None or message.expires_at is None:
            return
        late = self._world.now - message.due - message.network_seconds
        if late > 1.0 + _TOLERANCE:
            self._world.violate(f"{life} is handed to its dock {late:.3f} s after its deadline")

    def executed(self, life: Life) -> None:
        """A dock has a command."""
        life.executed = True
        code = life.state.get("failure_code")
        if code in REACHED_NOBODY:
            self._world.violate(f"{life} ended as {code}, and now a dock has it")

    def _carried_by(self, message: Message) -> Life | None:
        content: dict[str, Any] = orjson.loads(message.payload)
        tid = content.get("tid")
        if tid is not None:
            return self._record.by_id.get(tid)
        seq = content.get("seq")
        if seq is not None:
            return self._record.lives.get(seq)
        return self._record.by_key.get(content["data"]["video_type"])

    def _wrong_to_publish(self, life: Life) -> str | None:
        if life.end_is_known:
            return "after its end"
        if self._world.now > life.due[1] + _TOLERANCE:
            return f"after its deadline {life.due}"
        if "sending_at" not in life.state:
            return "before the intent to send was committed"
        if life.used_intents == life.intents:
            # An intent is for one message; what is safe to repeat may go again, but not behind
            # what was accepted after it.
            if not life.repeatable:
                return "twice"
            for other in self._record.lives.values():
                alike = other.gateway_id == life.gateway_id and not other.streams
                if alike and other.seq > life.seq and other.may_arrive:
                    return f"again behind {other}"
        elif life.messages and not life.overtakes:
            # What reached nobody may go again, but not behind what it would undo, and which the
            # broker has taken since.
            undone = catalogue.undone_behind(life.command_type)
            for other in self._record.lives.values():
                alike = other.gateway_id == life.gateway_id and not other.overtakes
                alike = alike and bool(undone & {other.command_type, ""})
                taken = any(kind == "DELIVERED" for _, kind in other.events)
                if alike and other.seq > life.seq and taken:
                    return f"again behind {other}, which the broker has taken"
        if life.alone:
            return self._wrong_to_publish_alone(life)
        if not (life.messages or life.overtakes or life.streams):
            newest = self._newest_published.get(life.gateway_id, 0)
            if life.seq < newest and not self._record.may_be_late(life):
                return f"behind command {newest}, which was accepted after it"
            self._newest_published[life.gateway_id] = max(life.seq, newest)
        return None

    def _wrong_to_publish_alone(self, life: Life) -> str | None:
        for other in self._record.open.values():
            alike = other.gateway_id == life.gateway_id and other.command_type == life.command_type
            if alike and other is not life and other.messages and "sending_at" in other.state:
                return f"beside {other}, whose answer would look the same"
        return None
