"""The API keys of the open API: made, listed, disabled, and opened for checking a request."""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockgate_server.access import sealing
from dockgate_server.access.sealing import SealingKey, SealingProblem
from dockgate_server.clock import Clock
from dockgate_server.model.caller import DEFAULT_TENANT, ORDINARY, Caller, Scope
from dockgate_server.store.interface import Credential, Store

LONGEST_LABEL = 100
"""Characters."""


class UnknownKey(Exception):
    """There is no API key of that ID."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, as it can be shown at any time."""

    api_id: str
    tenant: str
    label: str
    scopes: frozenset[Scope]
    created_at: int
    """UTC milliseconds since 1970, as is ``disabled_at``."""
    disabled_at: int | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key that was just made: the only time that its secret can be seen."""

    key: Key
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenKey:
    """An API key that may be used, with its secret."""

    caller: Caller
    secret: bytes = field(repr=False)
    """The key of the HMAC: the secret as UTF-8."""


class Keys:
    """The API keys in a store.

    Args:
        store: Where they are.
        key_file: The sealing key. Made when the first API key is; read when it is needed.
        clock: The time.
    """

    def __init__(self, store: Store, key_file: Path, clock: Clock) -> None:
        self._store = store
        self._key_file = key_file
        self._clock = clock
        self._sealing_key: SealingKey | None = None

    async def check(self) -> None:
        """Make sure that the keys in use can be opened, so that a server need not find out later.

        Raises:
            SealingProblem: The sealing key is missing although there are API keys, cannot be
                used, or is not the one with which they were sealed.
        """
        in_use = [one for one in await self._store.list_credentials() if one.disabled_at is None]
        for credential in in_use:
            (await self._key()).unseal(credential.api_id, credential.sealed_secret)

    async def create(
        self,
        label: str = "",
        tenant: str = DEFAULT_TENANT,
        scopes: Collection[Scope] = ORDINARY,
    ) -> NewKey:
        """Make an API key.

        Args:
            label: What it is for, for people; up to 100 characters.
            tenant: Whose commands it may see.
            scopes: What it may do.

        Raises:
            ValueError: The label is too long or has control characters.
            SealingProblem: See :meth:`check`.
        """
        if len(label) > LONGEST_LABEL or not (label.isprintable()):
            raise ValueError(f"must be up to {LONGEST_LABEL} printable characters")
        sealing_key = await self._key()
        api_id = f"dk_{secrets.token_hex(8)}"
        # With a prefix, as tools that look for leaked secrets find it by that.
        secret = f"dks_{secrets.token_urlsafe(32)}"
        credential = Credential(
            api_id=api_id,
            tenant=tenant,
            label=label,
            scopes=" ".join(sorted(scopes)),
            sealed_secret=sealing_key.seal(api_id, secret),
            created_at=self._clock.now_ms(),
        )
        await self._store.add_credential(credential)
        return NewKey(_shown(credential), secret)

    async def disable(self, api_id: str) -> bool:
        """Let an API key be used no more; False when it is disabled already.

        A server that runs on the same database takes note within
        :data:`~dockgate_server.access.verifier.KEY_CACHE_SECONDS`.

        Raises:
            UnknownKey: There is no such key.
        """
        if await self._store.disable_credential(api_id, self._clock.now_ms()):
            return True
        if await self._store.get_credential(api_id) is None:
            raise UnknownKey(f"there is no API key {api_id!r}")
        return False

    async def list(self) -> Sequence[Key]:
        """Every key, oldest first."""
        return [_shown(credential) for credential in await self._store.list_credentials()]

    async def open(self, api_id: str) -> OpenKey | None:
        """The key of that API ID with its secret; None when it is unknown or disabled.

        Raises:
            SealingProblem: See :meth:`check`.
        """
        credential = await self._store.get_credential(api_id)
        if credential is None or credential.disabled_at is not None:
            return None
        secret = (await self._key()).unseal(api_id, credential.sealed_secret)
        return OpenKey(Caller(credential.tenant, api_id, _scopes(credential)), secret.encode())

    async def _key(self) -> SealingKey:
        if self._sealing_key is None:
            key = await asyncio.to_thread(sealing.read_key, self._key_file)
            if key is None:
                if await self._store.list_credentials():
                    # A new one would open nothing and hide that the old one is gone.
                    raise SealingProblem(
                        f"the sealing key {self._key_file} is missing, but there are API keys "
                        "that were sealed with it; put it back where it was"
                    )
                key = await asyncio.to_thread(sealing.make_key, self._key_file)
            self._sealing_key = key
        return self._sealing_key


def _scopes(credential: Credential) -> frozenset[Scope]:
    return frozenset(Scope(one) for one in credential.scopes.split())


def _shown(credential: Credential) -> Key:
    return Key(
        credential.api_id,
        credential.tenant,
        credential.label,
        _scopes(credential),
        credential.created_at,
        credential.disabled_at,
    )
