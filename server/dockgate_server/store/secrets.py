"""What the gateway asks of a store about secrets that it keeps sealed.

What :class:`~dockgate_server.store.interface.Store` says of changes holds here too.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from dockgate_server.model.audit import Entry
from dockgate_server.sealing import Resealing, Vault


class Secrets(Protocol):
    """Keys that are kept sealed, and all that is sealed with any key."""

    async def kept_keys(self) -> Mapping[str, bytes]:
        """The keys that are kept, by purpose, sealed."""

    def keep_key(self, purpose: str, sealed: bytes) -> asyncio.Future[None]:
        """Keep a key, unless there is one for that purpose."""

    def reseal(self, resealing: Resealing, audit: Entry | None = None) -> asyncio.Future[int]:
        """Seal everything anew, or nothing: in one transaction. Answers with how many secrets.

        Raises:
            SealingProblem: Something in use was not sealed with the old key.
        """

    async def clean(self, vault: Vault) -> bool:
        """Take out, or seal, what a version that did not seal has stored; False when that is done.

        Nothing else may use the store meanwhile.
        """
