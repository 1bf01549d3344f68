"""Credentials: made, listed, rotated, disabled.

A credential is an API ID with a secret, or two of them while keys are rotated, and perhaps a client
certificate that stands for the secret.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dockgate_server.access.forms import check
from dockgate_server.access.opening import Opening, OpenKey, scopes_of
from dockgate_server.clock import Clock
from dockgate_server.model.audit import Action, Entry, by
from dockgate_server.model.caller import DEFAULT_TENANT, LOCAL, ORDINARY, Caller, Scope
from dockgate_server.sealing import KeySource
from dockgate_server.store.interface import Credential, Store


class UnknownKey(Exception):
    """There is no API key of that ID."""


class CannotRotate(Exception):
    """The secrets of an API key are not so that this can be done; the message says what can."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, as it can be shown at any time."""

    api_id: str
    tenant: str
    label: str
    scopes: frozenset[Scope]
    created_at: int
    """UTC milliseconds since 1970, as are all times here."""
    secret_at: int
    """When its newest secret was made."""
    older_secret_at: int | None = None
    """When the one before was made; None when only one is good."""
    disabled_at: int | None = None
    devices: tuple[str, ...] = ()
    """Which devices it may reach, see :attr:`~dockgate_server.model.caller.Caller.devices`."""
    client_certificate: str | None = None
    """The name in a client certificate that stands for the secret."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key with a secret that was just made: the only time that it can be seen."""

    key: Key
    secret: str = field(repr=False)


class Keys:
    """The API keys in a store.

    Args:
        store: Where they are.
        sealing_key: The key that seals secrets, or its file. Made when the first API key is; read
            when it is needed.
        clock: The time.
        who: Who changes them, for the audit log.
    """

    def __init__(
        self, store: Store, sealing_key: KeySource | Path, clock: Clock, who: Caller = LOCAL
    ) -> None:
        self._who = who
        self._store = store
        self._clock = clock
        source = KeySource(sealing_key) if isinstance(sealing_key, Path) else sealing_key
        self._opening = Opening(store, source, clock)

    async def check(self) -> None:
        """Make sure that the keys in use can be opened, so that a server need not find out later.

        Raises:
            SealingProblem: The sealing key is missing although there are API keys, cannot be
                used, or is not the one with which they were sealed.
        """
        for credential in await self._store.list_credentials():
            if credential.disabled_at is None:
                await self._opening.opened(credential)

    async def create(
        self,
        label: str = "",
        tenant: str = DEFAULT_TENANT,
        scopes: Collection[Scope] = ORDINARY,
        devices: Sequence[str] = (),
        client_certificate: str | None = None,
    ) -> NewKey:
        """Make an API key.

        Args:
            label: What it is for, for people; up to 100 characters.
            tenant: Whose commands and devices it may see.
            scopes: What it may do.
            devices: Which devices it may reach; all of its tenant when there are none.
            client_certificate: The name in a client certificate that stands for the secret.

        Raises:
            InvalidField: One of these cannot be so, or the certificate is another key's. Nothing
                was stored.
            SealingProblem: See :meth:`check`.
        """
        fields = check(label, tenant, devices, client_certificate)
        sealing_key = await self._opening.sealing_key()
        api_id, secret, now = f"dk_{secrets.token_hex(8)}", _new_secret(), self._clock.now_ms()
        credential = Credential(
            api_id=api_id,
            tenant=tenant,
            label=label,
            scopes=" ".join(sorted(scopes)),
            sealed_secret=sealing_key.seal(api_id, secret),
            created_at=now,
            devices=" ".join(fields.devices),
            client_certificate=client_certificate,
            secret_at=now,
        )
        audit = self._audit(Action.KEY_CREATED, api_id, tenant)
        audit = audit._replace(dangerous=Scope.DANGEROUS in scopes or Scope.RAW in scopes)
        if not await self._store.add_credential(credential, audit):
            raise fields.certificate_is_taken()
        self._opening.forget(credential)
        return NewKey(_shown(credential), secret)

    async def rotate(self, api_id: str) -> NewKey:
        """Give an API key a second secret; both are good until one is ended.

        Raises:
            UnknownKey: There is no such key.
            CannotRotate: It has two secrets already, or is disabled.
            SealingProblem: See :meth:`check`.
        """
        before = await self._usable(api_id)
        if before.older_secret is not None:
            raise _two_are_good(api_id)
        secret = _new_secret()
        sealed = (await self._opening.sealing_key()).seal(api_id, secret)
        audit = self._audit(Action.KEY_ROTATED, api_id, before.tenant)
        if not await self._store.rotate_credential(api_id, sealed, audit.at, audit):
            raise _two_are_good(api_id)  # somebody else has just done the same
        return NewKey(await self._changed(api_id), secret)

    async def finish_rotation(self, api_id: str) -> Key:
        """End the older of two secrets.

        A server that runs on the same database takes note within :data:`.opening.CACHE_SECONDS`.

        Raises:
            UnknownKey: There is no such key.
            CannotRotate: It has only one secret, or is disabled.
        """
        audit = await self._ending(api_id, Action.KEY_ROTATION_FINISHED)
        if not await self._store.end_older_secret(api_id, audit):
            raise _one_is_good(api_id)
        return await self._changed(api_id)

    async def undo_rotation(self, api_id: str) -> Key:
        """End the newer of two secrets, as it was lost or seen by somebody.

        Otherwise as :meth:`finish_rotation`.
        """
        audit = await self._ending(api_id, Action.KEY_ROTATION_UNDONE)
        if not await self._store.end_newer_secret(api_id, audit):
            raise _one_is_good(api_id)
        return await self._changed(api_id)

    async def disable(self, api_id: str) -> bool:
        """Let an API key be used no more; False when it is disabled already.

        A server that runs on the same database takes note within :data:`.opening.CACHE_SECONDS`.

        Raises:
            UnknownKey: There is no such key.
        """
        tenant = (await self._credential(api_id)).tenant
        await self._opening.sealing_key()  # which opens the audit log
        audit = self._audit(Action.KEY_DISABLED, api_id, tenant)
        changed = await self._store.disable_credential(api_id, audit.at, audit)
        await self._changed(api_id)
        return changed

    async def list(self) -> Sequence[Key]:
        """Every key, oldest first."""
        return [_shown(credential) for credential in await self._store.list_credentials()]

    async def open(self, api_id: str) -> OpenKey | None:
        """The key of that API ID with its secrets; None when it is unknown or disabled.

        Raises:
            DockgateError: UNAVAILABLE.
            SealingProblem: See :meth:`check`.
        """
        return await self._opening.by_id(api_id)

    async def open_anew(self, api_id: str) -> OpenKey | None:
        """The same for one of whose secrets none fits: it may have got another one just now.

        Raises:
            DockgateError: UNAVAILABLE.
            SealingProblem: See :meth:`check`.
        """
        return await self._opening.anew(api_id)

    async def open_by_certificate(self, name: str) -> OpenKey | None:
        """The key whose client certificate has that name; None when there is none.

        Raises:
            DockgateError: UNAVAILABLE.
            SealingProblem: See :meth:`check`.
        """
        return await self._opening.by_certificate(name)

    async def _usable(self, api_id: str) -> Credential:
        credential = await self._credential(api_id)
        if credential.disabled_at is not None:
            raise CannotRotate(f"the API key {api_id} is disabled; make a new one")
        return credential

    async def _ending(self, api_id: str, action: Action) -> Entry:
        """What the audit log says of the end of a rotation."""
        tenant = (await self._usable(api_id)).tenant
        await self._opening.sealing_key()  # which opens the audit log
        return self._audit(action, api_id, tenant)

    def _audit(self, action: Action, api_id: str, tenant: str) -> Entry:
        entry = by(self._who, self._clock.now_ms(), action)
        return entry._replace(tenant=tenant, target=api_id)

    async def _credential(self, api_id: str) -> Credential:
        credential = await self._store.get_credential(api_id)
        if credential is None:
            raise UnknownKey(f"there is no API key {api_id!r}")
        return credential

    async def _changed(self, api_id: str) -> Key:
        """Forget what is remembered of a key, and give it as it is now."""
        credential = await self._credential(api_id)
        self._opening.forget(credential)
        return _shown(credential)


def _new_secret() -> str:
    # With a prefix, as tools that look for leaked secrets find it by that.
    return f"dks_{secrets.token_urlsafe(32)}"


def _two_are_good(api_id: str) -> CannotRotate:
    return CannotRotate(
        f"the API key {api_id} has two secrets that are good; end one of them first, "
        "the older one (--finish) or the newer one (--undo)"
    )


def _one_is_good(api_id: str) -> CannotRotate:
    return CannotRotate(
        f"the API key {api_id} has one secret only, and no other to end; rotate it first, "
        "or disable it"
    )


def _shown(credential: Credential) -> Key:
    return Key(
        api_id=credential.api_id,
        tenant=credential.tenant,
        label=credential.label,
        scopes=scopes_of(credential),
        created_at=credential.created_at,
        secret_at=credential.secret_at,
        older_secret_at=credential.older_secret_at,
        disabled_at=credential.disabled_at,
        devices=tuple(credential.devices.split()),
        client_certificate=credential.client_certificate,
    )
