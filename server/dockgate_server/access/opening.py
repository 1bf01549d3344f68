"""Opening API keys to check who calls, and remembering for a moment what was opened.

Whatever callers send, the store is asked little: once in two seconds for each key that is in use,
once in a second for one that is shown with a wrong secret, and once in a second for which keys
there are at all, when some are named that were not seen before.
"""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from dockgate_server.access import unlocking
from dockgate_server.clock import Clock
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.sealing import KeySource, SealingKey
from dockgate_server.store.interface import Credential, Store

CACHE_SECONDS = 2.0
"""For how long a credential is taken to be as it was: after ``dockgate keys disable``, which runs
in another process, calls may still pass for so long."""

NEW_SECONDS = 1.0
"""For how long a credential, or a secret of it, is taken not to be there that was not: after
``dockgate keys create`` or ``rotate`` calls may still be refused for so long."""


@dataclass(frozen=True, slots=True)
class OpenKey:
    """An API key that may be used, with its secrets."""

    caller: Caller
    secrets: tuple[bytes, ...] = field(repr=False)
    """The keys of the HMAC, each the secret as UTF-8: one, or two while keys are rotated."""

    def holds(self, secret: bytes) -> bool:
        """Whether that is one of the secrets, in a time that does not tell how nearly it is."""
        alike = [hmac.compare_digest(secret, one) for one in self.secrets]
        return any(alike)


class Opening:
    """Opens API keys, for every transport alike.

    Args:
        store: Where they are.
        source: The key that seals secrets; read when it is needed.
        clock: The time.
    """

    def __init__(self, store: Store, source: KeySource, clock: Clock) -> None:
        self._store = store
        self._source = source
        self._clock = clock
        self._sealing_key: SealingKey | None = None
        # When they were read. Both hold keys that exist and no others, so that they cannot be made
        # to grow from outside.
        self._by_id: dict[str, tuple[float, OpenKey]] = {}
        self._by_certificate: dict[str, tuple[float, OpenKey]] = {}
        # Each lives for as long as somebody holds it.
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._names = _Names(store, clock)

    async def by_id(self, api_id: str) -> OpenKey | None:
        """The key of that API ID with its secrets; None when it is unknown or disabled.

        Raises:
            DockgateError: UNAVAILABLE.
            SealingProblem: See :func:`.unlocking.sealing_key`.
        """
        read_at, known = self._by_id.get(api_id, _NOTHING)
        if self._clock.monotonic() < read_at + CACHE_SECONDS:
            return known
        if known is None and api_id not in (await self._names.now()).api_ids:
            return None
        return await self._recall(self._by_id, api_id, self._store.get_credential)

    async def anew(self, api_id: str) -> OpenKey | None:
        """A key of which no secret fits, as of :data:`NEW_SECONDS` ago at the most.

        It may have been given another secret. And whoever guesses costs a read in that time.

        Raises:
            DockgateError, SealingProblem: As :meth:`by_id`.
        """
        return await self._recall(self._by_id, api_id, self._store.get_credential, NEW_SECONDS)

    async def by_certificate(self, name: str) -> OpenKey | None:
        """The key whose client certificate has that name; None when there is none.

        Raises:
            DockgateError, SealingProblem: As :meth:`by_id`.
        """
        read_at, known = self._by_certificate.get(name, _NOTHING)
        if self._clock.monotonic() < read_at + CACHE_SECONDS:
            return known
        if known is None and name not in (await self._names.now()).certificates:
            return None
        find = self._store.get_credential_of_certificate
        return await self._recall(self._by_certificate, name, find)

    async def opened(self, credential: Credential) -> OpenKey:
        """A credential, opened.

        Raises:
            SealingProblem: It was sealed with another key.
        """
        key = await self.sealing_key()
        sealed = (credential.sealed_secret, credential.older_secret)
        opened = [key.unseal(credential.api_id, one) for one in sealed if one is not None]
        caller = Caller(
            credential.tenant,
            credential.api_id,
            scopes_of(credential),
            tuple(credential.devices.split()),
        )
        return OpenKey(caller, tuple(secret.encode() for secret in opened))

    def forget(self, credential: Credential) -> None:
        """It was made or changed just now, by this process."""
        self._by_id.pop(credential.api_id, None)
        self._by_certificate.pop(credential.client_certificate or "", None)
        self._names.forget()

    async def sealing_key(self) -> SealingKey:
        """The key that seals secrets; a new one if nothing has been sealed yet.

        Raises:
            SealingProblem: See :func:`.unlocking.sealing_key`.
        """
        if self._sealing_key is None:
            self._sealing_key = await unlocking.sealing_key(self._store, self._source)
        return self._sealing_key

    async def _recall(
        self,
        cache: dict[str, tuple[float, OpenKey]],
        name: str,
        find: Callable[[str], Awaitable[Credential | None]],
        seconds: float = CACHE_SECONDS,
    ) -> OpenKey | None:
        # One read for all who ask at once: thousands of watches of a key may.
        async with self._reading.setdefault(name, asyncio.Lock()):
            now = self._clock.monotonic()
            read_at, known = cache.get(name, _NOTHING)
            if now < read_at + seconds:
                return known
            credential = await find(name)
            if credential is None or credential.disabled_at is not None:
                cache.pop(name, None)
                return None
            opened = await self.opened(credential)
            # From before the reading on: it may have been changed since.
            cache[name] = (now, opened)
            return opened


@dataclass(frozen=True, slots=True)
class _Found:
    """What the credentials that can be used are called."""

    api_ids: frozenset[str] = frozenset()
    certificates: frozenset[str] = frozenset()


class _Names:
    """Which credentials there are, read once for all that are named within a moment.

    To remember what is not there would be no bound: whoever guesses makes up another one each time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._found = _Found()
        self._until = clock.monotonic()
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """They have changed."""
        self._until = self._clock.monotonic()

    async def now(self) -> _Found:
        """What they are called, as of :data:`NEW_SECONDS` ago at the most.

        Raises:
            DockgateError: UNAVAILABLE.
        """
        if self._clock.monotonic() < self._until:
            return self._found
        async with self._lock:
            before = self._clock.monotonic()
            if before >= self._until:
                usable = await self._store.usable_credentials()
                self._found = _Found(
                    frozenset(api_id for api_id, _ in usable),
                    frozenset(name for _, name in usable if name is not None),
                )
                self._until = before + NEW_SECONDS
            return self._found


_NOTHING: tuple[float, None] = (-math.inf, None)


def scopes_of(credential: Credential) -> frozenset[Scope]:
    """What it may do."""
    return frozenset(Scope(one) for one in credential.scopes.split())
