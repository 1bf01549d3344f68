"""The simulated dock as tests and the command line use it: watched, and told things."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from dockgate_server.simulate.behaviour import Behaviour
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.device import Device
from dockgate_server.simulate.records import Happening, Key, Received

_WAIT = 10.0


class SimulatedDock:
    """A dock with a drone, as seen from the cloud over MQTT.

    Entering starts it and returns at once, also if there is no broker yet; leaving stops it. It
    stands for the far side, so it shares nothing with the gateway that it is used to test but the
    way into a broker.
    """

    def __init__(
        self,
        config: DockConfig | None = None,
        *,
        on_happening: Callable[[Happening], None] | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare a dock; nothing happens before it is entered.

        Args:
            config: what it is and where it connects to.
            on_happening: called on the event loop with everything that happens; what it raises
                ends the dock.
            rng: source of the jitter.
            clock: the device's clock, seconds since 1970; it need not be right.
        """
        self.config = config or DockConfig()
        self._on_happening = on_happening
        self._clock = clock
        self._main: asyncio.Task[None] | None = None
        self._device = Device(
            self.config,
            happened=self._happened,
            now_ms=self._now_ms,
            rng=rng or random.Random(),  # noqa: S311 - jitter keeps no secret
        )

    @property
    def received(self) -> Sequence[Received]:
        """Every message that came, in the order of arrival (the latest `config.remember`)."""
        return self._device.ledger.received

    @property
    def executions(self) -> Mapping[Key, int]:
        """How often a command with this key has come and would have been executed.

        The key is the tid or, for direct control, (method, seq). More than 1 means that someone
        sent a command twice: a dock that does not remember tids would have acted twice. This one
        answers again and starts no second job. Only (method, None) says nothing: it counts all
        commands of a method that have no seq.
        """
        return self._device.ledger.executions

    @property
    def unanswered_events(self) -> frozenset[str]:
        """The tids of the events that still wait for the cloud's answer."""
        return self._device.events.unanswered

    @property
    def subscribed(self) -> bool:
        """True while connected with all subscriptions in place: commands arrive."""
        return self._device.link.is_up

    @property
    def ready(self) -> bool:
        """True while connected and the cloud has answered the announcement."""
        return self._device.presence.ready

    @property
    def refusal(self) -> str | None:
        """Why the cloud has refused the registration; None if it has not."""
        return self._device.presence.refusal

    async def wait_subscribed(self, within: float = _WAIT) -> None:
        """Wait until commands arrive, whether or not a cloud has answered the announcement."""
        await self._until(lambda: self.subscribed, within, lambda: "the dock is not connected")

    async def wait_ready(self, within: float = _WAIT) -> None:
        """Wait until a cloud has answered the announcement with result 0."""
        await self._until(lambda: self.ready, within, lambda: self._device.presence.missing)

    async def wait_refused(self, within: float = _WAIT) -> str:
        """Wait until the cloud has refused the registration, and return why."""
        await self._until(
            lambda: self.refusal is not None, within, lambda: "the cloud has refused nothing"
        )
        return self.refusal or ""

    async def wait_received(
        self, count: int, *, on: str | None = "services", within: float = _WAIT
    ) -> list[Received]:
        """Wait until `count` messages have come since the start, and return those remembered.

        Args:
            count: how many.
            on: last part of the topic (services, set, down, events_reply, requests_reply,
                status_reply); None counts all.
            within: seconds after which TimeoutError says how many have come instead.
        """

        def come() -> int:
            counts = self._device.ledger.counts
            return counts.total() if on is None else counts[on]

        await self._until(
            lambda: come() >= count,
            within,
            lambda: f"{come()} of {count} messages on {on or 'any topic'} have come",
        )
        return [one for one in self.received if on is None or one.on == on]

    def behave(self, method: str | None, *behaviours: Behaviour) -> None:
        """Say how the next commands of a method (None: of all) are answered.

        A property goes by its name; a message that sets several is answered as its first. It
        replaces what was said about the method before; no behaviour at all forgets that.

        Raises:
            ValueError: two of the behaviours exclude each other.
        """
        self._device.behaviours.tell(method, behaviours)

    async def send_event(
        self,
        method: str,
        data: Any,
        *,
        need_reply: int | None = None,
        bid: str | None = None,
        copies: int = 1,
    ) -> str:
        """Send any event; returns its tid when the broker has taken it.

        Args:
            method: DJI's name of the event.
            data: whatever JSON it carries.
            need_reply: 1 asks the cloud to answer, and the dock repeats it until it does; 0 does
                not, None leaves the member out.
            bid: None makes a new one.
            copies: how often it goes out at once, whether or not it is answered.

        Raises:
            RuntimeError: the dock is not running.
        """
        self._check_running()
        return await self._device.events.say(
            method, data, need_reply=need_reply, bid=bid, copies=copies
        )

    async def ask(self, method: str, data: Any, *, within: float = _WAIT) -> Any:
        """Send any request, and return the `data` of the cloud's answer.

        Args:
            method: DJI's name of the request.
            data: whatever JSON it carries.
            within: seconds after which TimeoutError says that there was no answer.

        Raises:
            RuntimeError: the dock is not running.
        """
        self._check_running()
        try:
            async with asyncio.timeout(within):
                return await self._device.requests.ask(method, data)
        except TimeoutError:
            raise TimeoutError(f"after {within:g} s no cloud has answered {method}") from None

    async def go_offline(self) -> None:
        """Leave the broker; returns when that is done. Jobs go on and report afterwards.

        The cloud is told, by the message that is also the last will.
        """
        await self._device.link.go_offline()

    async def go_online(self) -> None:
        """Connect again; does not wait for it (`wait_subscribed`, `wait_ready` do)."""
        self._device.link.go_online()

    async def wait_stopped(self) -> None:
        """Wait until the dock has ended and raise what ended it, if anything did."""
        if self._main is not None:
            await asyncio.wait({self._main})
            if not self._main.cancelled():
                self._main.result()

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            RuntimeError: it was started before; a dock lives once.
        """
        if self._main is not None:
            raise RuntimeError("a simulated dock cannot be started twice")
        self._main = asyncio.create_task(
            self._device.run(), name=f"simulated {self.config.gateway}"
        )
        # So that nobody waits for something that a dead dock will never do.
        self._main.add_done_callback(lambda _: self._device.changes.notify())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Stop: leave the broker, end all tasks; a failure inside the dock is raised here."""
        if self._main is not None:
            self._main.cancel()
            await self.wait_stopped()

    async def _until(
        self, condition: Callable[[], bool], within: float, otherwise: Callable[[], str]
    ) -> None:
        try:
            async with asyncio.timeout(within):
                await self._device.changes.until(lambda: condition() or not self._is_running)
        except TimeoutError:
            raise TimeoutError(f"after {within:g} s {otherwise()}") from None
        if not condition():
            await self.wait_stopped()
            self._check_running()

    @property
    def _is_running(self) -> bool:
        return self._main is not None and not self._main.done()

    def _check_running(self) -> None:
        if not self._is_running:
            raise RuntimeError("the simulated dock is not running")

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _happened(self, kind: str, text: str, **details: object) -> None:
        if self._on_happening is not None:
            self._on_happening(Happening(self._now_ms(), kind, text, details))
