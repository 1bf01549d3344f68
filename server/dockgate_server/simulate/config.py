"""What a simulated dock is told before it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dockgate_server.simulate.behaviour import Behaviour
from dockgate_server.simulate.connection import Broker

SERIAL_NUMBER = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DockConfig:
    """Everything about a simulated dock that does not change while it runs.

    Attributes:
        broker: where it connects to.
        gateway: serial number of the dock.
        drone: serial number of its aircraft.
        answer_after: seconds from a command to its reply (real ones: 0.02 to 0.05).
        step_every: seconds between the progress events of a job.
        announce_every: seconds after which an unanswered announcement is repeated.
        event_repeats: seconds after which an unanswered event with need_reply 1 is sent again,
            one entry per repetition (real ones: 4, then 8).
        register: insists on the whole registration before it announces itself, and asks the cloud
            for what it needs before a drone takes off.
        organization: the organization to which it asks to be bound.
        binding_code: the device binding code by which it may.
        register_again: seconds after which it tries again when the cloud has refused it.
        ask_every: seconds after which an unanswered request is repeated.
        takeoff_wait: seconds for which a flight waits for the answers to its requests.
        drc_push: messages per second that it pushes on drc/up without being asked, from when a
            cloud has answered its announcement; 0 for none (real ones: 1 to 30).
        osd: messages per second on osd, the dock's and its drone's in turn, from the same moment;
            with them comes a round of state messages in each connection.
        events: events per second that belong to no command, from the same moment; every second one
            asks for an answer.
        retry_first: seconds before the first new attempt to connect; doubles from there, with
            jitter.
        retry_most: seconds it never exceeds.
        keep_session: seconds for which the broker keeps messages for a dock that is away.
        remember: how many messages and keys of commands are kept in memory.
        behaviours: how it misbehaves from the start, by method or property; None stands for all.
    """

    broker: Broker = field(default_factory=Broker)
    gateway: str = "dock-001"
    drone: str = "drone-001"
    answer_after: float = 0.03
    step_every: float = 1.0
    announce_every: float = 3.0
    event_repeats: tuple[float, ...] = (4.0, 8.0)
    register: bool = False
    organization: str = "organization-001"
    binding_code: str = "binding-001"
    register_again: float = 30.0
    ask_every: float = 5.0
    takeoff_wait: float = 40.0
    drc_push: float = 0.0
    osd: float = 0.0
    events: float = 0.0
    retry_first: float = 0.5
    retry_most: float = 30.0
    keep_session: int = 0
    remember: int = 100_000
    behaviours: Mapping[str | None, Sequence[Behaviour]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no dock could be.

        Raises:
            ValueError: the text says what is wrong.
        """
        for number in (self.gateway, self.drone):
            if not SERIAL_NUMBER.fullmatch(number):
                raise ValueError(
                    f"{number!r} is not a serial number;"
                    " one has 1 to 64 letters, digits, '.', '_' and '-'"
                )
        if self.gateway == self.drone:
            raise ValueError(f"dock and drone cannot both be {self.gateway}")
