"""Those that wait for one gateway device to come back, in the order accepted.

Thousands may wait, and each further command is put behind them: nothing here that happens for one
command looks at all the others.
"""

from bisect import insort
from collections.abc import Callable

from dockgate_server.dispatcher.backlog import Waiting


class Waiters:
    """Keeps them by what they wait for."""

    def __init__(self) -> None:
        self._urgent: list[Waiting] = []
        self._hurried: list[Waiting] = []  # those that end when nobody is there
        self._patient: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._urgent) + len(self._hurried) + len(self._patient)

    def add(self, one: Waiting) -> None:
        """Put one in its place."""
        if one.overtakes:
            kind = self._urgent
        else:
            kind = self._hurried if one.ends_when_away else self._patient
        insort(kind, one, key=_seq)

    def take_urgent(self) -> list[Waiting]:
        """Emergencies, which wait for nothing but to be sendable."""
        taken, self._urgent = self._urgent, []
        return taken

    def take_hurried(self) -> list[Waiting]:
        """Those that wait for nothing but to know whether the device is there."""
        taken, self._hurried = self._hurried, []
        return taken

    def take_first(self) -> Waiting:
        """The one accepted first, which there must be; emergencies apart."""
        queues = [queue for queue in (self._hurried, self._patient) if queue]
        return min(queues, key=lambda queue: queue[0].command.seq).pop(0)

    def take_all(self) -> list[Waiting]:
        """All but emergencies, in the order accepted."""
        taken = sorted(self._hurried + self._patient, key=_seq)
        self._hurried, self._patient = [], []
        return taken

    def drop_ended_at_front(self, is_open: Callable[[str], bool]) -> None:
        """Forget those that have ended, up to the first one that is to be sent."""
        for queue in (self._hurried, self._patient):
            while queue and not is_open(queue[0].command.id):
                del queue[0]

    def drop_ended(self, is_open: Callable[[str], bool]) -> None:
        """Forget all that have ended; this looks at each."""
        for queue in (self._urgent, self._hurried, self._patient):
            queue[:] = [one for one in queue if is_open(one.command.id)]


def _seq(one: Waiting) -> int:
    return one.command.seq
