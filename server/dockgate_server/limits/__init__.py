"""What a credential, and a device, may take of the gateway; who takes more is told so."""

from dockgate_server.clock import Clock, SystemClock
from dockgate_server.config.limits import MOST, LimitsSection
from dockgate_server.limits.open_commands import OpenCommands
from dockgate_server.limits.rate import Rate
from dockgate_server.limits.refusals import Refusals
from dockgate_server.limits.watches import Watches


class Limits:
    """The limits of one gateway.

    Args:
        settings: How much is allowed.
        clock: The time.
    """

    def __init__(self, settings: LimitsSection, clock: Clock) -> None:
        self.refusals = Refusals(clock)
        self.rate = self._bucket(settings, clock)
        """For what nobody but the caller can have sent. Whether it is a copy turns out behind it:
        until then one copy of each request holds a token."""
        self.copies = self._bucket(settings, clock)
        """For requests that anybody who has seen one can send again: those use up no others."""
        self.emergencies = self._bucket(settings, clock)
        """For emergencies of callers who have sent too much."""
        self.open_commands = OpenCommands(
            settings.open_commands_per_device,
            settings.open_commands_per_credential,
            settings.open_emergencies,
            self.refusals,
        )
        self.watches = Watches(settings.watches_per_credential, self.refusals)

    def _bucket(self, settings: LimitsSection, clock: Clock) -> Rate:
        per_second, at_once = settings.requests_per_second, settings.requests_at_once
        return Rate(per_second, at_once, clock, self.refusals)


def unlimited() -> Limits:
    """Limits that nobody reaches: for whoever is put together without any."""
    settings = LimitsSection(
        requests_per_second=MOST,
        requests_at_once=MOST,
        open_commands_per_credential=MOST,
        open_commands_per_device=MOST,
        open_emergencies=MOST,
        watches_per_credential=MOST,
    )
    return Limits(settings, SystemClock())
