"""Connections, and the messages on them: in order each way, until they break."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulation.world import World

if TYPE_CHECKING:
    from simulation.life import Life, Said


@dataclass(slots=True, eq=False)
class Message:
    """A PUBLISH, as it is at the broker."""

    topic: str
    payload: bytes
    sender: str
    qos: int = 1
    expires_at: float | None = None
    """When the broker throws it away; counted from its arrival there."""
    life: "Life | None" = None
    """The command that it carries."""
    said: "Said | None" = None
    """What a dock says with it."""
    due: float = 0.0
    """The command's deadline, as the gateway knew it when it published."""
    handed: bool = False
    """The broker has begun to hand it to the receiver."""
    gone: bool = False
    """It will certainly reach nobody any more."""
    network_seconds: float = 0.0
    """How long it was on its way to the broker."""


class Pipe:
    """One direction of a connection: what goes in first comes out first."""

    __slots__ = ("_cut_at", "_last", "_seconds", "_world")

    def __init__(self, world: World, seconds: float) -> None:
        self._world = world
        self._seconds = seconds
        self._last = 0.0
        self._cut_at: float | None = None

    def send(self, call: Callable[..., None], *args: Any) -> None:
        """Let ``call`` happen at the other end, if the connection lasts as long."""
        world = self._world
        self._last = max(self._last, world.now + self._seconds * (0.5 + world.random()))
        world.at(self._last, self._arrive, call, args)

    def cut(self, at: float) -> None:
        """What has not arrived by then never will."""
        self._cut_at = at if self._cut_at is None else min(at, self._cut_at)

    def _arrive(self, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if self._cut_at is None or self._world.now <= self._cut_at:
            call(*args)
            return
        for one in args:
            if isinstance(one, Message) and one.life is not None and one.sender == "gateway":
                one.gone = True


class Link:
    """A connection between a client and the broker.

    Args:
        world: Time and chance.
        client_lost: Tells the client that its connection has ended.
        broker_lost: Tells the broker the same.
    """

    def __init__(
        self,
        world: World,
        client_lost: "Callable[[Link], None]",
        broker_lost: "Callable[[Link], None]",
    ) -> None:
        seconds = world.rng.choice((0.0005, 0.002, 0.02))
        self._world = world
        self.up = Pipe(world, seconds)
        """To the broker."""
        self.down = Pipe(world, seconds)
        """To the client."""
        self._client_lost = client_lost
        self._broker_lost = broker_lost
        self.broken = False
        self.receive_maximum = 65_535
        """How many messages the broker lets the client have unacknowledged."""
        self.unacknowledged = 0
        self.is_v5 = True

    def break_(self) -> None:
        """It breaks; what is on its way may still arrive for a moment, either way.

        Each side notices by itself, soon or, when the other one is just silent, late.
        """
        if self.broken:
            return
        self.broken = True
        world = self._world
        self.up.cut(world.now + 0.05 * world.random() ** 3)
        self.down.cut(world.now + 0.05 * world.random() ** 3)
        late = 3.0 if world.random() < 0.1 else 0.02
        world.after(0.05 + late * world.random(), self._client_lost, self)
        world.after(0.05 + late * world.random(), self._broker_lost, self)
