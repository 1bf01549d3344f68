"""How many requests a credential may send: a token bucket for each."""

from dockgate_server.clock import Clock
from dockgate_server.limits.refusals import Refusals, is_exempt
from dockgate_server.model.caller import Caller

LIMIT = "limits.requests_per_second"

_FEWEST_KEPT = 1000

# Sums of doubles are not exact: a token that comes within a nanosecond is there.
_ROUNDING = 1e-9


class Rate:
    """A token bucket per credential.

    Of a bucket only the time is kept at which it is full again, and nothing once it is. To be
    asked only when it is proven who asks, so that nobody can use up another's tokens, and nobody
    can make it grow.

    Args:
        per_second: How many tokens come back in a second.
        at_once: How many a full bucket holds.
        clock: The time; its monotonic one.
        refusals: Makes the errors.
    """

    def __init__(self, per_second: float, at_once: int, clock: Clock, refusals: Refusals) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._interval = 1 / per_second
        self._depth = at_once * self._interval
        """How long an empty bucket takes to be full, in seconds."""
        self._clock = clock
        self._refusals = refusals
        self._full_at: dict[str, float] = {}
        self._sweep_at = _FEWEST_KEPT

    def take(self, caller: Caller) -> None:
        """Take one of the caller's tokens.

        Raises:
            DockgateError: RATE_LIMITED, when there is none; then none is taken.
        """
        if is_exempt(caller):
            return
        now = self._clock.monotonic()
        self._full_at[caller.principal] = self._after_one_more(caller, now)
        if len(self._full_at) > self._sweep_at:
            self._full_at = {who: at for who, at in self._full_at.items() if at > now}
            self._sweep_at = max(_FEWEST_KEPT, 2 * len(self._full_at))

    def give_back(self, caller: Caller) -> None:
        """It was not the caller who took the token."""
        if caller.principal in self._full_at:
            self._full_at[caller.principal] -= self._interval

    def _after_one_more(self, caller: Caller, now: float) -> float:
        """When the bucket is full again, with one token less than now."""
        full_at = self._full_at.get(caller.principal, now)
        if full_at < now:
            full_at = now
        empty = now + self._depth
        if full_at + self._interval <= empty:
            return full_at + self._interval
        return self._last_token(caller, full_at, empty)

    def _last_token(self, caller: Caller, full_at: float, empty: float) -> float:
        if full_at > empty + _ROUNDING:
            # The clock has jumped back. The bucket is taken to be empty, and fills from now on.
            full_at = self._full_at[caller.principal] = empty
        missing = full_at + self._interval - empty
        if missing <= _ROUNDING:
            return empty
        raise self._refusals.reached(
            caller,
            LIMIT,
            f"{caller.principal} may send {self._per_second:g} requests a second, "
            f"{self._at_once} at once, and has sent more",
            missing,
        )
