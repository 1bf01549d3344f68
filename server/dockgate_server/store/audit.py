"""The audit log: what the gateway asks of a store about it, and how its entries are chained.

Each entry carries a MAC over itself and the MAC before it, so none can be changed, taken out, put
in or moved without the key, which is not in the database in clear. Entries that were cut off at
the end show against a head that was noted down elsewhere before.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dockgate_server.model.audit import Entry
from dockgate_server.sealing import SealingKey

if TYPE_CHECKING:
    from dockgate_server.store.interface import Swept  # which names AuditLog

SEPARATOR = "\n"
"""Between the fields of an entry as its MAC sees it; no field holds it, see :func:`clean`."""

LONGEST_TEXT = 256
"""Characters of a field that came from outside."""

NO_MAC = bytes(32)
"""What the first entry of all is chained to."""


class Head(NamedTuple):
    """The newest entry, or the place of the chain where it goes on."""

    seq: int
    mac: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.mac.hex()}"

    @classmethod
    def read(cls, text: str) -> "Head":
        """From how it is written: ``SEQ:MAC``.

        Raises:
            ValueError: It is not written so.
        """
        seq, _, mac = text.partition(":")
        head = cls(int(seq), bytes.fromhex(mac))
        if head.seq < 0 or len(head.mac) != len(NO_MAC):
            raise ValueError("not a number and 64 hex digits")
        return head


class AuditLog(Protocol):
    """The record of who asked for what. Entries of changes are recorded with the changes.

    It is to be unlocked before anything is changed that is to be recorded.
    """

    restored_from: int | None
    """When the backup was taken from which the database comes; None in any other, and once that
    has been recorded."""

    async def unlock(self, sealing_key: SealingKey) -> None:
        """Open the key of the chain, or make it in a database that has none.

        Raises:
            SealingProblem: It was sealed with another sealing key.
        """

    def record(self, *entries: Entry) -> asyncio.Future[None]:
        """Append entries that belong to no change."""

    async def guard(self, entry: Entry) -> Sequence[str]:
        """See that the store takes no change of an entry, and mend it where it would.

        Args:
            entry: Is recorded, with what was found as its target, where something was mended.

        Returns:
            What was found, each in a few words; nothing where all was as it should be.
        """

    def restored(self, entry: Entry) -> asyncio.Future[None]:
        """Append the entry of having been restored from a backup, once."""

    async def head(self) -> Head:
        """The newest entry."""

    def remove_old(self, cutoff: int, now: int, after: int) -> "asyncio.Future[Swept]":
        """A step of removing entries from before ``cutoff``, from the old end on."""


class Chain:
    """Makes the MACs of a log.

    Args:
        key: Its key.
    """

    def __init__(self, key: bytes) -> None:
        self._begun = hmac.new(key, digestmod=hashlib.sha256)

    def mac(self, before: bytes, seq: int, entry: Entry) -> bytes:
        """The MAC of an entry: HMAC-SHA256 over the MAC before it, its number and its fields."""
        (at, action, outcome, tenant, principal, proven, *texts, dangerous, digest, calls) = entry
        line = SEPARATOR.join(
            (
                f"{seq}\n{at}\n{action}\n{outcome}\n{tenant}\n{principal}\n{proven:d}",
                *texts,
                f"{dangerous:d}\n{digest.hex()}\n{calls}",
            )
        )
        return self._over(before + line.encode())

    def seal(self, anchor: Head) -> bytes:
        """What stands beside an anchor: only who has the key can set one."""
        return self._over(f"anchor\n{anchor}".encode())

    def _over(self, content: bytes) -> bytes:
        # From a copy: beginning anew costs as much as all the rest.
        mac = self._begun.copy()
        mac.update(content)
        return mac.digest()


def clean(entry: Entry) -> Entry:
    """The entry without characters that could confuse a reader, or the chain.

    What came from outside may hold anything: newlines, escape sequences, halves of surrogate pairs.
    """
    # Its texts; what decides and what counts lies between them.
    if "".join((*entry[1:5], *entry[6:13])).isprintable():
        return entry
    return Entry._make(_clean(one) if isinstance(one, str) else one for one in entry)


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
