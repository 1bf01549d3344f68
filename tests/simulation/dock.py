"""Docks: they answer right, late, twice, wrongly or never, come and go, and report their jobs."""

from collections.abc import Callable
from typing import Any

import orjson

from dockgate_server.codec import catalogue
from dockgate_server.model.command import Channel
from simulation.broker import Broker
from simulation.life import Life, Said
from simulation.record import JOB_SILENCE_SECONDS, NOTED_REPLIES, Record
from simulation.wire import Link, Message
from simulation.world import World

_REPLY_TOPICS = {
    Channel.SERVICES: "thing/product/{}/services_reply",
    Channel.PROPERTY_SET: "thing/product/{}/property/set_reply",
    Channel.DRC: "thing/product/{}/drc/up",
}
_ODD = {Channel.SERVICES: "device_reboot", Channel.DRC: "drc_light_mode_set"}
"""Methods that docks name in replies to others; nobody submits them here."""


class Dock:
    """One gateway device on the broker.

    Args:
        world: Time and chance.
        name: Its serial number.
        broker: Where it connects.
        record: Where what it says is numbered.
        executed: Is told of each command that it has got.
    """

    def __init__(
        self,
        world: World,
        name: str,
        broker: Broker,
        record: Record,
        executed: Callable[[Life], None],
    ) -> None:
        self.name = name
        self._world = world
        self._broker = broker
        self._record = record
        self._executed = executed
        self._session = broker.add(self, kept=world.random() < 0.5)
        self._session.inbound_maximum = world.rng.choice((1, 5, 20))
        self._knows_tids = world.random() < 0.5  # and does nothing twice for the same one
        self._link: Link | None = None
        self._seen: set[int] = set()
        self._unanswered: dict[int, tuple[str, bytes, Said]] = {}  # what it has not been told of
        self._outbox: list[tuple[str, bytes, Said]] = []  # said while there was no connection
        self._sent: dict[int, Message] = {}  # not acknowledged by the broker yet
        self._packet_ids = 0
        self._announced = -1
        self._withheld = False
        self.others: list[Dock] = []
        self.drones: tuple[str, ...] = ()

    # Coming and going.

    def connect(self) -> None:
        """Come (back) to the broker, and announce what is connected to it."""
        world = self._world
        if not self._broker.up:
            world.after(0.5 + world.random(), self.connect)
            return
        link = self._link = self._broker.connect(self._session, self._lost)
        self._broker.set_will(link, self._will)
        world.after(0.03 * world.random(), self._arrived, link)

    def calm_down(self) -> None:
        """Faults are over: what it never acknowledged no longer holds up what comes behind."""
        if self._withheld and self._link is not None:
            self._link.break_()

    def _arrived(self, link: Link) -> None:
        if self._link is not link or link.broken:
            return
        world = self._world
        world.note(self.name, "connected")
        self._session.subscribe(link)
        sent, self._sent = self._sent, {}
        for message in sent.values():  # QoS 1: until the broker has acknowledged it
            world.faults["repeated by a dock"] += 1
            self._transmit(link, message)
        outbox, self._outbox = self._outbox, []
        for topic, payload, said in outbox:
            self._publish(topic, payload, said)
        self._announce()
        if world.strikes("dock went away", 0.6):
            world.after(world.rng.expovariate(1 / 12.0), self._go_away, link)

    def _go_away(self, link: Link) -> None:
        if self._link is link and not self._world.calm:
            link.break_()

    def _lost(self, link: Link) -> None:
        if self._link is not link:
            return
        world = self._world
        world.note(self.name, "away")
        self._link = None
        if world.random() < 0.3:
            self._outbox.clear()  # it was switched off
            self._sent.clear()
        away = world.rng.expovariate(1 / 4.0) if world.random() < 0.6 else 0.2
        world.after(0.1 + min(away, 12.0), self.connect)

    def _will(self) -> Message:
        topic = f"sys/product/{self.name}/status"
        return Message(topic, b'{"method":"update_topo","data":{"sub_devices":[]}}', self.name)

    def _announce(self) -> None:
        said = self._record.say(None, "topology")
        self._unanswered.pop(self._announced, None)  # an older one is not repeated any more
        self._announced = said.number
        model = {"domain": "3", "type": "1", "sub_type": said.number}
        drones = [{"sn": drone, "domain": "0", "type": "1"} for drone in self.drones]
        self._say(
            f"sys/product/{self.name}/status",
            {"tid": f"t{said.number}", "bid": "b", "timestamp": 1, "method": "update_topo"},
            {**model, "sub_devices": drones},
            said,
        )
        self._unanswered[said.number] = self._last_said
        self._world.after(4.0, self._say_again, said.number, 2)

    # Messages for it.

    def receive(self, link: Link, packet_id: int, message: Message) -> None:
        """A message arrives."""
        world = self._world
        if self._link is not link:
            return
        if packet_id:
            if world.strikes("dock acknowledged late", 0.03):
                world.after(world.between(0.1, 3.0), self._acknowledge, link, packet_id)
            elif world.strikes("dock never acknowledged", 0.01):
                self._withheld = True
            else:
                self._acknowledge(link, packet_id)
        life = message.life
        if life is None:
            self._was_answered(message)
            return
        self._executed(life)
        if life.seq in self._seen:
            world.faults["command twice at a dock"] += 1
            if self._knows_tids:
                return
        self._seen.add(life.seq)
        if world.trace is not None:
            world.note(self.name, "received", str(life))
        if not life.streams:
            self._answer(life)

    def _acknowledge(self, link: Link, packet_id: int) -> None:
        link.up.send(self._session.acknowledge, link, packet_id)

    def _was_answered(self, message: Message) -> None:
        tid = orjson.loads(message.payload)["tid"]
        self._unanswered.pop(int(tid[1:]), None)

    # What it says to commands.

    def _answer(self, life: Life) -> None:
        world, strikes = self._world, self._world.strikes
        seconds = 0.02 + 0.2 * world.random() ** 3
        if strikes("dock silent", 0.05):
            return
        if strikes("reply late", 0.04):
            seconds = life.due[1] - world.now + world.between(-0.02, 3.0)
        elif strikes("reply at the deadline", 0.02):
            seconds = life.due[1] - world.now + world.between(-0.004, 0.004)
        elif strikes("reply slow", 0.05):
            seconds = world.between(0.5, 5.0)
        seconds = max(0.001, seconds)
        if strikes("reply by another method", 0.02) and life.channel in _ODD:
            world.after(seconds * 0.9, self._reply_oddly, life, "by another method")
        if strikes("reply without result", 0.02):
            world.after(seconds * 0.8, self._reply_oddly, life, "without result")
        if life.channel is not Channel.DRC:
            if strikes("reply by another channel", 0.01):
                world.after(seconds * 0.9, self._reply_oddly, life, "by another channel")
            if strikes("reply without tid", 0.01):
                world.after(seconds * 0.9, self._reply_oddly, life, "without tid")
        if strikes("reply by another gateway", 0.02) and not life.alone:
            world.after(seconds * 0.7, self._reply_elsewhere, life)
        result = world.rng.choice((5001, 314004, 12)) if strikes("device failed", 0.06) else 0
        world.after(seconds, self._reply, life, result)
        times = 0
        if strikes("reply twice", 0.06):
            times = 1
        elif strikes("reply without end", 0.002):
            times = NOTED_REPLIES + 4
        for _ in range(times):
            # Of a method without a number, a further answer looks like that to the next command.
            if not life.alone:
                again = world.rng.choice((result, 0, 12))
                world.after(seconds + world.between(-0.01, 2.0), self._reply, life, again)
        if not result and catalogue.METHODS[life.command_type].progress:
            world.after(seconds + world.between(-0.03, 0.5), self._report, life, 0)

    def _reply(self, life: Life, result: int) -> None:
        is_drc = life.channel is Channel.DRC
        nameless = life.alone or (is_drc and self._world.strikes("reply without number", 0.05))
        said = self._record.say(life, "answer", result, anonymous=nameless)
        data = {"result": result, "n": said.number}
        self._say_about(life, _REPLY_TOPICS[life.channel], life.command_type, data, said)

    def _reply_oddly(self, life: Life, how: str) -> None:
        channel, method = life.channel, life.command_type
        said = self._record.say(life, how, anonymous=life.alone or how == "without tid")
        data: dict[str, Any] = {"result": 0, "n": said.number}
        if how == "by another method":
            method = _ODD[life.channel]
        elif how == "without result":
            data["result"] = "?"
        elif how == "by another channel":
            is_set = channel is Channel.PROPERTY_SET
            channel = Channel.SERVICES if is_set else Channel.PROPERTY_SET
        self._say_about(life, _REPLY_TOPICS[channel], method, data, said)

    def _reply_elsewhere(self, life: Life) -> None:
        said = self._record.say(life, "elsewhere")
        data = {"result": 0, "n": said.number}
        other = self._world.rng.choice(self.others)
        other._say_about(life, _REPLY_TOPICS[life.channel], life.command_type, data, said)

    def _report(self, life: Life, step: int) -> None:
        """Tell how the job goes on; sometimes also after its end."""
        world, strikes = self._world, self._world.strikes
        said = self._record.say(life, "job")
        link = catalogue.METHODS[life.command_type].progress[0]
        states = ("sent", "in_progress", "in_progress", "paused", "in_progress")
        state = world.rng.choice(("ok", "failed")) if step >= 3 else states[step]
        output = {"status": state, "progress": {"percent": step, "step_key": str(said.number)}}
        key = life.id if not link.request_field else life.key
        content = {"tid": f"e{said.number}", "bid": key, "timestamp": 1, "method": link.event}
        content["need_reply"] = 1
        data = {"result": 0, "output": output, link.event_key: key}
        self._say(f"thing/product/{self.name}/events", content, data, said)
        self._unanswered[said.number] = self._last_said
        world.after(4.0, self._say_again, said.number, 2)
        if step < 3:
            if strikes("job fell silent", 0.05):
                return
            seconds = world.between(0.01, 1.0)
            if strikes("report at the last moment", 0.03):
                seconds = JOB_SILENCE_SECONDS + world.between(-0.003, 0.003)
            world.after(seconds, self._report, life, step + 1)
        elif strikes("job went on after its end", 0.2):
            world.after(world.between(0.01, 1.0), self._report, life, step + 1)

    def _say_again(self, number: int, times: int) -> None:
        """What is not answered is repeated, with the same tid."""
        if number in self._unanswered and times and not self._world.calm:
            self._world.faults["event repeated"] += 1
            self._publish(*self._unanswered[number])
            self._world.after(8.0, self._say_again, number, times - 1)

    def _say_about(
        self, life: Life, topic: str, method: str, data: dict[str, Any], said: Said
    ) -> None:
        content: dict[str, Any] = {"method": method, "timestamp": 1}
        if "drc/up" in topic:
            if not said.anonymous:
                content["seq"] = life.seq
        else:
            if not said.anonymous:
                content |= {"tid": life.id, "bid": life.id}
            if self._world.random() < 0.3 and method == life.command_type:
                del content["method"]
        self._say(topic.format(self.name), content, data, said)

    def _say(self, topic: str, content: dict[str, Any], data: dict[str, Any], said: Said) -> None:
        payload = orjson.dumps({**content, "data": data})
        self._last_said = (topic, payload, said)
        self._publish(topic, payload, said)

    def _publish(self, topic: str, payload: bytes, said: Said) -> None:
        if self._link is None:
            self._outbox.append((topic, payload, said))
            return
        message = Message(topic, payload, self.name, said=said)
        self._transmit(self._link, message)

    def _transmit(self, link: Link, message: Message) -> None:
        self._packet_ids += 1
        self._sent[self._packet_ids] = message
        link.up.send(self._broker.take_from_dock, message, link, self._packet_ids, self._taken)

    def _taken(self, packet_id: int) -> None:
        self._sent.pop(packet_id, None)
