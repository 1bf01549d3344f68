"""Handing a command to the broker, and what the broker says of it.

Only what certainly reached nobody is ever handed over a second time, and what is safe to repeat.
"""

import asyncio
import enum
from collections.abc import Callable
from functools import partial

import structlog

from dockgate_server.bridge.interface import Acknowledgement, Bridge, NotConnected, Verdict
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, channels
from dockgate_server.dispatcher.aboard import Aboard
from dockgate_server.dispatcher.absent import Absent
from dockgate_server.dispatcher.backlog import Waiting
from dockgate_server.dispatcher.deadlines import Deadlines
from dockgate_server.dispatcher.decisions import Decisions
from dockgate_server.dispatcher.outstanding import Outstanding
from dockgate_server.dispatcher.window import Window
from dockgate_server.model.command import Command, FailureCode
from dockgate_server.sealing import SealingProblem, Vault
from dockgate_server.store.interface import Store

_log = structlog.get_logger(__name__)


class Sending(enum.Enum):
    """What became of handing a message over."""

    HANDED_OVER = enum.auto()
    NOT_CONNECTED = enum.auto()
    """It certainly has not left."""
    NOT_THERE = enum.auto()
    """Another drone would carry it out: than the one that was there when the place was given."""
    NO_ROOM = enum.auto()
    """The broker would end the connection for it: another one than when the place was given."""
    TOO_LATE = enum.auto()
    """The command has ended, or its deadline has passed, or others have overtaken one that was to
    be sent again; it has not left now."""


class Publisher:
    """Publishes commands and records the broker's answers.

    Args:
        bridge: The way to the devices.
        window: Counts what waits for its acknowledgement.
        deadlines: Knows how long a message may live.
        decisions: Records what happened to a message.
        absent: Is told who listens.
        aboard: Knows which drones are where they are to be reached.
        clock: The time.
        vault: Opens what is secret, for the moment of sending.
        outstanding: Is told what has left.
        again: Takes a command that is to be sent again.
        acknowledged: Told after each answer, when a place in the window is free again.
    """

    def __init__(
        self,
        bridge: Bridge,
        window: Window,
        deadlines: Deadlines,
        decisions: Decisions,
        absent: Absent,
        aboard: Aboard,
        clock: Clock,
        vault: Vault,
        outstanding: Outstanding,
        *,
        again: Callable[[Waiting], None],
        acknowledged: Callable[[], None],
    ) -> None:
        self._bridge = bridge
        self._window = window
        self._deadlines = deadlines
        self._decisions = decisions
        self._absent = absent
        self._aboard = aboard
        self._clock = clock
        self._vault = vault
        self._outstanding = outstanding
        self._again = again
        self._when_acknowledged = acknowledged
        self._newest_sent: dict[str, int] = {}  # by gateway, the seq of the newest command
        # The same of what the broker has taken, or may have; without emergencies, which overtake.
        # By gateway and method; "" stands for all of them.
        self._newest_taken: dict[tuple[str, str], int] = {}

    def send(self, one: Waiting) -> Sending:
        """Hand the message to the network; the broker's answer is recorded when it comes."""
        command = one.command
        left = self.seconds_to_send(one)
        if left <= 0:
            return Sending.TOO_LATE
        if self._aboard.missing(command):
            return Sending.NOT_THERE
        if self._window.room_for_emergencies <= 0:
            return Sending.NO_ROOM if self._bridge.connected else Sending.NOT_CONNECTED
        whole = self._whole(command)
        if whole is None:
            return Sending.TOO_LATE
        topic, payload = channels.compose(whole, self._clock.now_ms())
        try:
            # Whole seconds are the finest that MQTT knows, and 0 would be dropped at once. So a
            # dock that comes back gets nothing that is late by more than a second.
            sent = self._bridge.publish(topic, payload, max(1, int(left)))
        except NotConnected:
            return Sending.NOT_CONNECTED
        self._window.in_flight += 1
        self._outstanding.left(command)
        newest = self._newest_sent.get(command.gateway_id, 0)
        self._newest_sent[command.gateway_id] = max(newest, command.seq)
        sent.add_done_callback(partial(self._acknowledged, one))
        return Sending.HANDED_OVER

    def _whole(self, command: Command) -> Command | None:
        """The command with its secrets; None where these are damaged, which ends it."""
        if command.sealed is None:
            return command
        try:
            return command._replace(data=self._vault.unseal(command.id, command.sealed))
        except SealingProblem as problem:
            _log.error("command_cannot_be_opened", command_id=command.id, problem=str(problem))
            self._decisions.refuse(command, FailureCode.DELIVERY_REFUSED, str(problem))
            return None

    async def recover(self, store: Store, from_seq: int) -> None:
        """Take over what an earlier process has sent, from a command on."""
        for gateway_id, method, seq in await store.last_sent(from_seq):
            if method in catalogue.CONTROL_STREAMS:
                continue  # they go past what is sent here
            newest = self._newest_sent.get(gateway_id, 0)
            self._newest_sent[gateway_id] = max(newest, seq)
            if method not in catalogue.EMERGENCIES:
                self._taken(gateway_id, method, seq)

    def is_last(self, one: Waiting) -> bool:
        """Whether nothing that was accepted after this command has been sent to its gateway device.

        Otherwise a repeated charge_open might come after a charge_close and undo it.
        """
        return self._newest_sent.get(one.command.gateway_id, 0) <= one.command.seq

    def seconds_to_send(self, one: Waiting) -> float:
        """For how long it may still reach its device; 0 when it must not be sent any more.

        As its time is over, or as it was to be sent again, and others have gone to its gateway
        device since. Its answer or its deadline decides then; and if it was to find out whether
        somebody listens, the next one does.
        """
        left = self._deadlines.seconds_to_send(one.command)
        if left <= 0 or self._is_overtaken(one):
            self._absent.done_with(one.command)
            return 0.0
        return left

    def _is_overtaken(self, one: Waiting) -> bool:
        if one.may_have_left:
            return not self.is_last(one)
        if one.reached_nobody and not one.overtakes:
            gateway_id, seq = one.command.gateway_id, one.command.seq
            undone = catalogue.undone_behind(one.command.command_type)
            return any(self._newest_taken.get((gateway_id, kind), 0) > seq for kind in undone)
        return False

    def _may_have_arrived(self, one: Waiting) -> None:
        if not one.overtakes:
            self._taken(one.command.gateway_id, one.command.command_type, one.command.seq)

    def _taken(self, gateway_id: str, method: str, seq: int) -> None:
        for key in ((gateway_id, method), (gateway_id, "")):
            if self._newest_taken.get(key, 0) < seq:
                self._newest_taken[key] = seq

    def _acknowledged(self, one: Waiting, sent: "asyncio.Future[Acknowledgement]") -> None:
        self._window.in_flight -= 1
        if not sent.cancelled():
            if sent.exception() is None:
                self._answered(one, sent.result())
            else:
                self._lost(one)
        self._when_acknowledged()

    def _lost(self, one: Waiting) -> None:
        # It may have left. For what cannot be repeated the device's answer or the deadline decides.
        self._may_have_arrived(one)
        self._absent.done_with(one.command)
        still_open = self._deadlines.seconds_left(one.command.id) > 0
        if one.repeatable and self.is_last(one) and still_open:
            one.intended = True
            one.may_have_left = True
            self._again(one)

    def _answered(self, one: Waiting, answer: Acknowledgement) -> None:
        if answer.verdict is Verdict.NOBODY_LISTENS:
            # Of an earlier copy, if there was one, that says nothing: it may have arrived.
            if one.may_have_left:
                self._absent.done_with(one.command)
            else:
                one.reached_nobody = True
                self._absent.nobody_listened(one)
            return
        self._absent.was_taken(one.command.gateway_id)
        if answer.verdict is Verdict.TAKEN:
            self._may_have_arrived(one)
            self._decisions.delivered(one.command)
        elif not one.may_have_left:
            reason = f"the broker refused the message: {answer.reason}"
            self._decisions.refuse(one.command, FailureCode.DELIVERY_REFUSED, reason)
