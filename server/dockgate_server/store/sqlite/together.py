"""Making the changes of a group: what is alike in one statement, the rest one by one.

While a statement runs the event loop has the interpreter, and the writer has to get it back behind
each: few statements for many commands are worth more than cheap ones.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from dockgate_server.store.sqlite.transaction import Fact, Transaction


class Failed(NamedTuple):
    """The answer to a change that could not be made."""

    error: Exception


class Made(NamedTuple):
    """What became of one of them."""

    facts: Sequence[Fact]
    """What was done to commands: their events are numbered in the order asked."""
    answer: Any = None
    """The answer to it; None for its events."""


class Together(NamedTuple):
    """A change of commands that is made together with others of its kind."""

    stage: int
    """Its kind's place in the life of a command: lower ones are made first."""
    make: Callable[[Transaction, list[Any]], Sequence[Made]]
    """Makes many of them."""
    ids: Sequence[str]
    """The commands that it may touch."""
    what: Any
    """What ``make`` is given."""


Alone = Callable[[Transaction], Any]
Change = Alone | Together


class _Round:
    """Changes that can be made stage by stage: none comes before an earlier one of its command."""

    def __init__(self, tx: Transaction, answers: list[Any]) -> None:
        self._tx = tx
        self._answers = answers
        self._stages: dict[int, list[tuple[int, Together]]] = {}
        self._reached: dict[str, int] = {}

    def add(self, number: int, change: Together) -> None:
        """Take a change in; make those that it has to follow first."""
        for one in change.ids:
            if self._reached.get(one, -1) >= change.stage:
                self.make()
                break
        for one in change.ids:
            self._reached[one] = change.stage
        self._stages.setdefault(change.stage, []).append((number, change))

    def make(self) -> None:
        """Make what has been taken in."""
        done: list[tuple[int, Made]] = []
        for _, changes in sorted(self._stages.items()):
            make = changes[0][1].make
            made = make(self._tx, [change.what for _, change in changes])
            done += [(number, one) for (number, _), one in zip(changes, made, strict=True)]
        for number, (facts, answer) in sorted(done, key=itemgetter(0)):
            events = tuple([self._tx.record(fact) for fact in facts])
            self._answers[number] = events if answer is None else answer
        self._stages.clear()
        self._reached.clear()


def make_all(tx: Transaction, changes: Sequence[Change]) -> list[Any]:
    """Make the changes, those of each command in their order; the answer to each."""
    answers: list[Any] = [None] * len(changes)
    waiting = _Round(tx, answers)
    for number, change in enumerate(changes):
        if isinstance(change, Together):
            waiting.add(number, change)
            continue
        waiting.make()
        # It may read whatever has been done before it.
        tx.write_down()
        answers[number] = change(tx)
    waiting.make()
    tx.write_down()
    return answers
