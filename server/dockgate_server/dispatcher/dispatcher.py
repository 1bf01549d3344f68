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
from functools import partial

import structlog

from dockgate_server.bridge.interface import Bridge
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue
from dockgate_server.devices.presence import PresenceBook
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher import decisions
from dockgate_server.dispatcher.aboard import Aboard
from dockgate_server.dispatcher.absent import Absent
from dockgate_server.dispatcher.backlog import Backlog, Waiting, goes_alone, waiting
from dockgate_server.dispatcher.burst import Burst
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.decisions import Decisions
from dockgate_server.dispatcher.outstanding import Outstanding
from dockgate_server.dispatcher.publisher import Publisher, Sending
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.dispatcher.streams import ControlStreams
from dockgate_server.dispatcher.window import Window
from dockgate_server.errors import DockgateError
from dockgate_server.model.command import Command, CommandEvent, EventKind, FailureCode
from dockgate_server.model.transitions import Accept, Accepted, BeginSending
from dockgate_server.sealing import Vault
from dockgate_server.shielding import shielded
from dockgate_server.store.interface import Store

_log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
_Accepting = asyncio.Future[Accepted]
_AGAIN_LATER = {Sending.NOT_THERE: decisions.NOT_THERE, Sending.NO_ROOM: decisions.NO_ROOM}


class Dispatcher:
    """Accepts commands into the store and sends them.

    Args:
        store: Where commands are recorded.
        bridge: The way to the devices.
        deadlines: Ends what is not answered in time.
        recorder: Records what happened to a message.
        presence: Knows which gateway devices are there.
        registry: Knows which drones are.
        clock: The time.
        vault: Opens what is secret, for the moment of sending.
        send_without_expiry: Send methods that are not safe to carry out late even when the
            broker cannot expire messages (MQTT 3.1.1). For demonstrations only.
    """

    def __init__(
        self,
        store: Store,
        bridge: Bridge,
        deadlines: Deadlines,
        recorder: Recorder,
        presence: PresenceBook,
        registry: Registry,
        clock: Clock,
        vault: Vault,
        *,
        send_without_expiry: bool = False,
    ) -> None:
        self._store = store
        self._bridge = bridge
        self._deadlines = deadlines
        self._clock = clock
        self._send_without_expiry = send_without_expiry
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()  # something was sent or acknowledged: see `drain`
        self._backlog = Backlog()
        self._window = Window(bridge)
        self._burst = Burst(clock, self._wake.set)
        self._sending_group = False
        self._draining = False
        self._is_breaking = False  # the bridge could not publish, and has yet to say that it broke
        self._decisions = Decisions(recorder, clock)
        self._aboard = Aboard(registry, presence, self._backlog, self._decisions, self._wake.set)
        self._streams = ControlStreams(
            bridge, self._decisions, self._aboard, clock, send_without_expiry=send_without_expiry
        )
        self.outstanding = Outstanding()
        """Which DRC commands an answer without a number may be for."""
        self._absent = Absent(
            presence,
            self._backlog,
            self._decisions,
            clock,
            is_open=lambda command_id: deadlines.seconds_left(command_id) > 0,
            wake=self._wake.set,
        )
        self._publisher = Publisher(
            bridge,
            self._window,
            deadlines,
            self._decisions,
            self._absent,
            self._aboard,
            clock,
            vault,
            self.outstanding,
            again=self._enqueue,
            acknowledged=self._acknowledged,
        )

    @property
    def backlog(self) -> int:
        """Accepted commands that have not been sent yet."""
        return len(self._backlog) + len(self._absent) + len(self._aboard)

    def accept(self, new: Accept, method: catalogue.Method) -> asyncio.Future[Accepted]:
        """Record a command durably and send it; the answer does not wait for the sending.

        What happens behind the answer does not depend on the asker: cancelling the await
        neither takes the command back nor leaves it unsent.
        """
        has_place, streams = self._has_place(method, new), method.spec.control_stream
        self._window.enter(with_place=has_place, streams=streams)
        self._deadlines.begin(new.id, new.timeout_seconds)
        accepting = self._store.accept(new._replace(sending=True) if has_place else new)
        accepting.add_done_callback(partial(self._accepted, new.id, has_place, streams))
        # Behind that, so that the message is on its way before anybody is answered.
        return shielded(accepting)

    async def recover(self) -> None:
        """Take up the open commands of an earlier process, before anything new is accepted."""
        recovered = 0
        async for commands in self._store.open_commands():
            if not recovered:
                await self._publisher.recover(self._store, commands[0].seq)
            recovered += len(commands)
            for command in commands:
                self._take_up(command)
        if recovered:
            _log.info("open_commands_recovered", commands=recovered, unsent=self.backlog)

    def committed(self, events: Sequence[CommandEvent]) -> None:
        """Take note of a commit: what has ended needs no deadline and holds up nobody."""
        for event in events:
            if event.kind is EventKind.ACCEPTED:
                # Here, as the same commit may have ended it: then it has none any more.
                self._deadlines.add(event.command)
            elif event.command.status.is_end:
                self._deadlines.discard(event.command.id)
                self.outstanding.ended(event.command)
                self._absent.done_with(event.command)
                self._aboard.done_with(event.command)
                if self._backlog.is_in(event.command):
                    self._wake.set()

    def connection_changed(self) -> None:
        """The bridge can publish, or no longer can."""
        self._is_breaking = False
        self._absent.probe_all()
        self._wake.set()

    async def run(self) -> None:
        """Send the backlog whenever the window has room, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._can_publish and (group := self._next_group()):
                if not await self._send_group(group):
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
                while self._window.is_in_use or self._sending_group:
                    self._progress.clear()
                    await self._progress.wait()

    @property
    def _can_publish(self) -> bool:
        return self._bridge.connected and not self._is_breaking

    def _has_place(self, method: catalogue.Method, new: Accept) -> bool:
        may_send = self._can_publish and self._may_send(method.spec.safe_to_repeat)
        if self._draining or not may_send:
            return False
        if method.spec.control_stream:
            return True
        if goes_alone(new.channel, new.command_type) or self._aboard.missing(new):
            return False  # only the loop holds back those that may not go
        if method.spec.overtakes:
            return not self._backlog.has_urgent and self._window.room_for_emergencies > 0
        if self._absent.is_away(new.gateway_id):
            return False
        # Nobody must be overtaken: neither the backlog nor those on their way into it.
        ahead = self._backlog.has_ordinary or self._window.unplaced or self._sending_group
        return not ahead and self._window.room_in_acceptance > 0

    def _may_send(self, repeatable: bool) -> bool:
        return repeatable or self._send_without_expiry or self._bridge.expires_messages

    def _accepted(self, new_id: str, had_place: bool, streams: bool, done: _Accepting) -> None:
        self._window.leave(with_place=had_place, streams=streams)
        self._burst.accepted()
        self._progress.set()
        self._wake.set()
        if done.cancelled() or done.exception() is not None or done.result().replayed:
            self._deadlines.discard(new_id)
            return
        one = waiting(done.result().command, intended=had_place)
        if one.streams:
            self._streams.take(one, self._deadlines.seconds_to_send(one.command))
        elif had_place:
            self._send_at_once(one)
        else:
            self._enqueue(one)

    def _send_at_once(self, one: Waiting) -> None:
        # Those ahead may have lost their place since, to a connection that broke.
        ahead = self._backlog.has_urgent
        if not one.overtakes:
            ahead = self._backlog.has_ordinary or self._sending_group
        if ahead or (self._absent.is_away(one.command.gateway_id) and not one.overtakes):
            self._absent.wait(one, decisions.BEHIND_OTHERS)
        elif not self._hand_over(one):
            self._not_connected((one,))

    def _hand_over(self, one: Waiting) -> bool:
        """Send a command with an intent, or take that back; False when there is no connection."""
        sending = self._publisher.send(one)
        if sending is Sending.TOO_LATE:
            self._decisions.take_back(one, decisions.LATE)
        elif (reason := _AGAIN_LATER.get(sending)) is not None:
            self._absent.wait(one, reason)
        return sending is not Sending.NOT_CONNECTED

    def _not_connected(self, unsent: Sequence[Waiting]) -> None:
        for one in unsent:
            self._absent.wait(one, decisions.NOT_CONNECTED)
        # Not at once again: a bridge whose connection is just breaking says no before it says that
        # it is not connected, and would never get to it.
        self._is_breaking = True
        self._wake_later()

    def _take_up(self, command: Command) -> None:
        """A command that an earlier process has left open."""
        self._deadlines.add(command)
        one = waiting(command, intended=command.sending_at is not None)
        if not one.intended:
            one.reached_nobody = command.revision > 1  # its intent was taken back
            self._streams.refuse(command) if one.streams else self._enqueue(one)
            return
        self.outstanding.left(command)
        again = one.repeatable and command.delivered_at is None and self._publisher.is_last(one)
        one.may_have_left = again
        if self._backlog.go_out(one) and again:  # else it may be out: others of its kind wait
            self._enqueue(one)

    def _enqueue(self, one: Waiting) -> None:
        self._backlog.put(one)
        self._wake.set()

    def _next_group(self) -> list[Waiting]:
        """Those that may be sent now. Emergencies do not wait for the window either."""
        if self._draining:
            return []
        room = self._burst.room(self._window.room, len(self._backlog))
        return self._backlog.take(room, self._window.room_for_emergencies)

    async def _send_group(self, group: list[Waiting]) -> bool:
        """Send them; False when that is not possible now, and the rest waits again."""
        self._sending_group = True
        sendable = [one for one in group if self._still_sendable(one)]
        try:
            with self._deadlines.held(one.command.id for one in sendable):
                begun = await self._begin_sending(sendable)
                for index, one in enumerate(begun):
                    # Asked again: one before it may have reached nobody meanwhile.
                    if not (self._absent.takes(one) or self._hand_over(one)):
                        self._not_connected(begun[index:])
                        return False
        except DockgateError:
            self._backlog.put(*sendable)
            self._wake_later()
            return False
        finally:
            self._sending_group = False
            self._progress.set()
        return True

    async def _begin_sending(self, group: list[Waiting]) -> list[Waiting]:
        """Commit the intent to send those; answers with the ones that may be sent.

        Raises:
            DockgateError: The store cannot; nothing may be sent.
        """
        unintended = [one for one in group if not one.intended]
        if unintended:
            ids = tuple(one.command.id for one in unintended)
            # Ahead of what is being accepted, as an emergency may be behind it.
            events = await self._store.apply(BeginSending(ids, self._clock.now_ms(), True))
            begun = {event.command.id for event in events}
            for one in unintended:
                one.intended = one.command.id in begun
        # A guard that failed means that the command has ended meanwhile.
        return [one for one in group if one.intended]

    def _still_sendable(self, one: Waiting) -> bool:
        if not (one.intended or one.may_have_left) and self._deadlines.ends_late(one.command):
            return False
        if self._publisher.seconds_to_send(one) <= 0 or self._absent.takes(one):
            return False
        if self._aboard.takes(one) or not self._backlog.go_out(one):
            self._absent.done_with(one.command)
            return False
        if not (may_send := self._may_send(one.repeatable)):
            code = FailureCode.EXPIRY_UNSUPPORTED
            self._decisions.refuse(one.command, code, decisions.CANNOT_EXPIRE)
        return may_send

    def _acknowledged(self) -> None:
        self._progress.set()
        if self._backlog.is_waiting:
            self._wake.set()

    def _wake_later(self) -> None:
        """Not at once again: store or bridge have just failed."""

        def wake() -> None:
            self._is_breaking = False
            self._wake.set()

        self._clock.call_at(self._clock.monotonic() + _RETRY_SECONDS, wake)
