"""The sealing key of a database: found or made, and proven to be the right one."""

import asyncio

from dockgate_server import sealing
from dockgate_server.sealing import KeySource, SealingKey, SealingProblem, Vault
from dockgate_server.store.interface import Store


async def sealing_key(store: Store, source: KeySource) -> SealingKey:
    """The key with which the database is sealed; a new one if nothing has been sealed yet.

    From here on the store records in the audit log what is to be recorded.

    Raises:
        SealingProblem: The key is missing although there are sealed secrets, cannot be used, or is
            not the one with which they were sealed. Nothing was changed.
    """
    kept = await store.secrets.kept_keys()
    credentials = await store.list_credentials()
    key = await asyncio.to_thread(source.read)
    if key is None:
        if kept or credentials:
            # A new one would open nothing and hide that the old one is gone.
            what = "there are API keys" if credentials else "the database holds secrets"
            raise SealingProblem(
                f"the sealing key {source} is missing, but {what} that were sealed with it; "
                "put it back where it was"
            )
        key = await asyncio.to_thread(source.make)
        await store.audit.unlock(key)
        return key
    try:
        for purpose, sealed in kept.items():
            sealing.open_kept_key(key, purpose, sealed)
        for credential in credentials:
            if credential.disabled_at is None:
                key.unseal(credential.api_id, credential.sealed_secret)
    except SealingProblem as problem:
        raise SealingProblem(f"{source} is the wrong sealing key: {problem}") from None
    await store.audit.unlock(key)
    return key


async def vault(store: Store, source: KeySource) -> Vault:
    """What seals and opens the secrets of commands and answers.

    Raises:
        SealingProblem: See :func:`sealing_key`.
    """
    key = await sealing_key(store, source)
    if sealing.DIGESTS not in await store.secrets.kept_keys():
        new = sealing.new_kept_key(key, sealing.DIGESTS)
        await store.secrets.keep_key(sealing.DIGESTS, new)
    kept = (await store.secrets.kept_keys())[sealing.DIGESTS]
    return Vault(key, sealing.open_kept_key(key, sealing.DIGESTS, kept))
