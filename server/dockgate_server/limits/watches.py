"""How many watches a credential may have open at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from dockgate_server.limits.refusals import Refusals, is_exempt
from dockgate_server.model.caller import Caller

LIMIT = "limits.watches_per_credential"


class Watches:
    """Counts open watches of every kind.

    Args:
        per_credential: The most for one credential.
        refusals: Makes the errors.
    """

    def __init__(self, per_credential: int, refusals: Refusals) -> None:
        self._per_credential = per_credential
        self._refusals = refusals
        self._of_credential: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: Caller) -> Iterator[None]:
        """A watch of the caller, while the block runs.

        Raises:
            DockgateError: RATE_LIMITED, when it has too many open.
        """
        principal = caller.principal
        if self._of_credential[principal] >= self._per_credential and not is_exempt(caller):
            raise self._refusals.reached(
                caller,
                LIMIT,
                f"{principal} has {self._per_credential} watches open, and may have no more until "
                "one of them is closed",
            )
        self._of_credential[principal] += 1
        try:
            yield
        finally:
            self._of_credential[principal] -= 1
            if not self._of_credential[principal]:
                del self._of_credential[principal]
