"""Sends what has been accepted: in order, once, within a window.

The intent to send is committed before the message is handed to the network. A command with a
place in the publish window gets it together with its acceptance, so that the common case costs
one commit; the backlog gets it in groups, as it enters the window. So after a crash "no intent"
means "certainly not sent", and whatever has an intent is not sent again unless its method is
safe to repeat.

Only this class publishes commands, and it does so from callbacks and one loop, never from a
task per command: so the order is the order of the loop, and nothing has to be sorted out later.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog

from dockgate_server.bridge.interface import (
    Acknowledgement,
    Bridge,
    NotConnected,
    Verdict,
)
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, channels
from dockgate_server.dispatcher.backlog import Backlog, Waiting, goes_alone, waiting
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.dispatcher.streams import ControlStreams
from dockgate_server.errors import DockgateError
from dockgate_server.model.command import CommandEvent, FailureCode
from dockgate_server.model.transitions import (
    Accept,
    Accepted,
    BeginSending,
    ConfirmDelivery,
    Refuse,
)
from dockgate_server.store.interface import Store

_log = structlog.get_logger(__name__)

WINDOW = 64
"""Messages that may wait for the broker's acknowledgement, if the broker allows so many.
Measured: throughput peaks here."""

_EMERGENCY_PLACES = 2
"""How many of the messages that the broker allows are kept for emergencies, which do not wait
for the window: with one more than it allows, the broker would end the connection."""

_STORE_RETRY_SECONDS = 1.0


class Dispatcher:
    """Accepts commands into the store and sends them.

    Args:
        store: Where commands are recorded.
        bridge: The way to the devices.
        deadlines: Ends what is not answered in time.
        recorder: Records what happened to a message.
        clock: The time.
        send_without_expiry: Send methods that are not safe to carry out late even when the
            broker cannot expire messages (MQTT 3.1.1). For demonstrations only.
    """

    def __init__(
        self,
        store: Store,
        bridge: Bridge,
        deadlines: Deadlines,
        recorder: Recorder,
        clock: Clock,
        *,
        send_without_expiry: bool = False,
    ) -> None:
        self._store = store
        self._bridge = bridge
        self._deadlines = deadlines
        self._recorder = recorder
        self._clock = clock
        self._send_without_expiry = send_without_expiry
        self._streams = ControlStreams(
            bridge, recorder, clock, send_without_expiry=send_without_expiry
        )
        self._backlog = Backlog()
        self._last_sent: dict[str, int] = {}  # by gateway, the seq of the last command
        self._in_flight = 0
        self._reserved = 0  # places in the window held for commands that are being accepted
        self._unplaced = 0  # commands that are being accepted without a place
        self._sending_group = False
        self._draining = False
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()  # nothing is being sent or waits to be acknowledged
        self._quiet.set()

    @property
    def backlog(self) -> int:
        """Accepted commands that have not been sent yet."""
        return len(self._backlog)

    def accept(self, new: Accept, method: catalogue.Method) -> asyncio.Future[Accepted]:
        """Record a command durably and send it; the answer does not wait for the sending.

        What happens behind the answer does not depend on the asker: cancelling the await
        neither takes the command back nor leaves it unsent.
        """
        has_place = self._has_place(method, new)
        if has_place:
            self._reserved += 1
        else:
            self._unplaced += 1
        accepting = self._store.accept(replace(new, sending=has_place))
        accepting.add_done_callback(partial(self._accepted, has_place))
        return asyncio.shield(accepting)

    async def recover(self) -> None:
        """Take up the open commands of an earlier process, before anything new is accepted."""
        recovered = 0
        async for commands in self._store.open_commands():
            for command in commands:
                recovered += 1
                self._deadlines.add(command)
                one = waiting(command, intended=command.sending_at is not None)
                repeatable = one.repeatable and command.delivered_at is None
                if one.streams and not one.intended:
                    self._streams.refuse(command)
                elif not one.intended or (repeatable and not await self._store.sent_after(command)):
                    one.may_have_left = one.intended
                    self._enqueue(one)
                else:
                    self._backlog.go_out(one)  # it may be out: others of its kind wait
        if recovered:
            _log.info("open_commands_recovered", commands=recovered, unsent=self.backlog)

    def committed(self, events: Sequence[CommandEvent]) -> None:
        """Take note of a commit: what has ended needs no deadline and holds up nobody."""
        for event in events:
            if event.command.status.is_end:
                self._deadlines.discard(event.command.id)
                if self._backlog.ended(event.command):
                    self._wake.set()

    def connection_changed(self) -> None:
        """The bridge can publish, or no longer can."""
        self._wake.set()

    async def run(self) -> None:
        """Send the backlog whenever the window has room, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._bridge.connected and (group := self._next_group()):
                if not await self._send_group(group):
                    # Not at once again: a bridge whose connection is just breaking says no
                    # before it says that it is not connected, and would never get to it.
                    break

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, and wait for the broker's acknowledgement of what has been sent.

        What still waits has no intent to send and goes out after the restart. A group that is
        being sent is waited for, as its intent is being committed: cancelled in the middle, it
        would look as if it might have left.
        """
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._quiet.wait()

    def _has_place(self, method: catalogue.Method, new: Accept) -> bool:
        if self._draining or not self._bridge.connected:
            return False
        if not self._may_send(method.spec.safe_to_repeat):
            return False
        if method.spec.control_stream:
            return True  # it waits for no acknowledgement and takes nobody's place
        if goes_alone(new.channel, new.command_type):
            return False  # only the loop sees to it that one at a time is sent
        if method.spec.overtakes:
            return not self._backlog.has_urgent and self._room_for_emergencies() > 0
        # Nobody must be overtaken: neither the backlog nor those on their way into it.
        nobody_ahead = not (self._backlog.has_ordinary or self._unplaced or self._sending_group)
        return nobody_ahead and self._room() > 0

    def _room(self) -> int:
        window = min(WINDOW, max(1, self._bridge.receive_maximum - _EMERGENCY_PLACES))
        return window - self._in_flight - self._reserved

    def _room_for_emergencies(self) -> int:
        return self._bridge.receive_maximum - self._in_flight - self._reserved

    def _may_send(self, repeatable: bool) -> bool:
        return repeatable or self._send_without_expiry or self._bridge.expires_messages

    def _accepted(self, had_place: bool, accepting: "asyncio.Future[Accepted]") -> None:
        if had_place:
            self._reserved -= 1
        else:
            self._unplaced -= 1
        if accepting.cancelled() or accepting.exception() is not None:
            self._wake.set()
            return
        accepted = accepting.result()
        if accepted.replayed:
            self._wake.set()
            return
        self._deadlines.add(accepted.command)
        one = waiting(accepted.command, intended=had_place)
        if one.streams:
            (self._streams.send if had_place else self._streams.refuse)(one.command)
            return
        # Those ahead may have lost their place since, to a connection that broke.
        if one.overtakes:
            ahead = self._backlog.has_urgent
        else:
            ahead = self._backlog.has_ordinary or self._sending_group
        if had_place and not ahead and self._send(one):
            return
        self._enqueue(one)

    def _enqueue(self, one: Waiting) -> None:
        self._backlog.put(one)
        self._wake.set()

    def _next_group(self) -> list[Waiting]:
        """Those that may be sent now. Emergencies do not wait for the window either."""
        if self._draining:
            return []
        return self._backlog.take(self._room(), self._room_for_emergencies())

    async def _send_group(self, group: list[Waiting]) -> bool:
        """Send them; False when that is not possible now, and the rest waits again."""
        self._sending_group = True
        self._quiet.clear()
        sendable = [one for one in group if self._still_sendable(one)]
        try:
            unintended = tuple(w.command.id for w in sendable if not w.intended)
            if unintended:
                begin = BeginSending(unintended, self._clock.now_ms())
                begun = {event.command.id for event in await self._store.apply(begin)}
                # A guard that failed means that the command has ended meanwhile.
                sendable = [w for w in sendable if w.intended or w.command.id in begun]
                for one in sendable:
                    one.intended = True
            for index, one in enumerate(sendable):
                if not self._send(one):
                    for rest in sendable[index:]:
                        self._backlog.put(rest)
                    return False
        except DockgateError:
            for one in sendable:
                self._backlog.put(one)
            when = self._clock.monotonic() + _STORE_RETRY_SECONDS
            self._clock.call_at(when, self._wake.set)
            return False
        finally:
            self._sending_group = False
            self._note_quiet()
        return True

    def _note_quiet(self) -> None:
        if not (self._in_flight or self._sending_group):
            self._quiet.set()

    def _still_sendable(self, one: Waiting) -> bool:
        if self._deadlines.seconds_left(one.command.id) <= 0:
            return False  # it has ended, or its deadline is ending it
        if not self._backlog.go_out(one):
            return False
        if self._may_send(one.repeatable):
            return True
        reason = (
            "the broker speaks MQTT 3.1.1, where a message cannot expire: a dock that comes "
            "back later would still carry the command out"
        )
        self._refuse(one.command.id, FailureCode.EXPIRY_UNSUPPORTED, reason)
        return False

    def _send(self, one: Waiting) -> bool:
        """Publish; False when there is no connection, so that it has certainly not left."""
        command = one.command
        left = self._deadlines.seconds_left(command.id)
        if left <= 0:
            return True
        topic, payload = channels.compose(command, self._clock.now_ms())
        try:
            # Whole seconds are the finest that MQTT knows, and 0 would be dropped at once.
            sent = self._bridge.publish(topic, payload, max(1, int(left)))
        except NotConnected:
            return False
        self._in_flight += 1
        self._last_sent[command.gateway_id] = command.seq
        self._quiet.clear()
        sent.add_done_callback(partial(self._acknowledged, one))
        return True

    def _acknowledged(self, one: Waiting, sent: "asyncio.Future[Acknowledgement]") -> None:
        self._in_flight -= 1
        self._note_quiet()
        if self.backlog:
            self._wake.set()
        command_id = one.command.id
        if sent.cancelled():
            return
        if sent.exception() is not None:
            # It may have left. Only what is safe to repeat is sent again, with the same tid, and
            # only if nothing has been sent behind it: charge_open must not come again after a
            # charge_close. For the rest the device's answer or the deadline decides.
            is_last = self._last_sent.get(one.command.gateway_id) == one.command.seq
            if one.repeatable and is_last and self._deadlines.seconds_left(command_id) > 0:
                one.intended = True
                one.may_have_left = True
                self._enqueue(one)
            return
        acknowledgement = sent.result()
        if acknowledgement.verdict is Verdict.TAKEN:
            self._recorder.record(ConfirmDelivery(command_id, self._clock.now_ms()))
        elif one.may_have_left:
            pass  # an earlier copy may have arrived; its answer or the deadline decides
        elif acknowledgement.verdict is Verdict.NOBODY_LISTENS:
            reason = f"nobody at the broker listens for gateway {one.command.gateway_id}"
            self._refuse(command_id, FailureCode.DEVICE_OFFLINE, reason)
        else:
            reason = f"the broker refused the message: {acknowledgement.reason}"
            self._refuse(command_id, FailureCode.DELIVERY_REFUSED, reason)

    def _refuse(self, command_id: str, code: FailureCode, reason: str) -> None:
        self._recorder.record(Refuse(command_id, code, reason, self._clock.now_ms()))
