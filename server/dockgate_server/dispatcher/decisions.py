"""What the gateway itself decides about a command that has not ended: recorded here."""

from collections.abc import Callable

from dockgate_server.clock import Clock
from dockgate_server.dispatcher.backlog import Waiting
from dockgate_server.dispatcher.recorder import Recorder
from dockgate_server.model.command import Command, FailureCode
from dockgate_server.model.transitions import CompleteSend, ConfirmDelivery, Refuse, TakeBack

LATE = "it was outdated before it could be sent"
NOT_CONNECTED = "the connection to the broker broke before it could be sent"
BEHIND_OTHERS = "others that were accepted before it have to be sent first"
NO_ROOM = "the broker lets fewer messages wait than the one before it did"
NOT_THERE = "another drone has taken the place of the one that it is for"
CANNOT_EXPIRE = (
    "the broker speaks MQTT 3.1.1, where a message cannot expire: a dock that comes back later "
    "would still carry the command out"
)
"""Why a message has reached nobody, or may not leave."""


class Decisions:
    """Records what became of messages, with the time."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock

    def refuse(self, command: Command, code: FailureCode, reason: str) -> None:
        """End a command that cannot or may not be sent."""
        self._recorder.record(Refuse(command.id, code, reason, self._clock.now_ms()))

    def delivered(self, command: Command) -> None:
        """The broker has taken the message."""
        self._recorder.record(ConfirmDelivery(command.id, self._clock.now_ms()))

    def sent(self, command: Command) -> None:
        """The message has been handed to the network, and nothing more will be heard of it."""
        self._recorder.record(CompleteSend(command.id, self._clock.now_ms()))

    def take_back(self, one: Waiting, reason: str, then: Callable[[], None] = lambda: None) -> bool:
        """Its message has certainly reached nobody; False if an earlier copy may have.

        It must not be sent before this is recorded, which ``then`` tells.
        """
        if not one.intended or one.may_have_left:
            return False
        one.intended = False
        self._recorder.record(TakeBack((one.command.id,), reason, self._clock.now_ms()), then)
        return True
