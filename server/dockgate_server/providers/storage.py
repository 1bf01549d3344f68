"""Where a dock puts media and PSDK resources. Source: DJI's pages on media, file and psdk."""

from typing import Any

import structlog

from dockgate_server.config.providers import ObjectStorage
from dockgate_server.model.device_request import Asked
from dockgate_server.model.reply import as_integer
from dockgate_server.providers import Answer, Provider, accepted, members, refused
from dockgate_server.providers.sts import CannotMint, Credentials, Minting

FAILED = -1
"""What a dock is told when no credentials can be had. Source: DJI's Java SDK."""

_BY = "object_storage"
_MEDIA, _PSDK = 0, 1

_log = structlog.get_logger(__name__)


class Storage:
    """Answers with the bucket of the settings, and credentials for it.

    Args:
        settings: The bucket.
        minting: Where credentials come from; None for those of the settings.
    """

    def __init__(self, settings: ObjectStorage, minting: Minting | None) -> None:
        self._settings = settings
        self._minting = minting

    def by_method(self) -> dict[str, Provider]:
        """What can be answered with these settings."""
        return {"storage_config_get": self.config} if self._settings.bucket else {}

    async def config(self, asked: Asked) -> Answer | None:
        """Bucket, prefix of the module, and credentials."""
        settings = self._settings
        prefixes = {_MEDIA: settings.media_prefix, _PSDK: settings.psdk_prefix}
        prefix = prefixes.get(as_integer(members(asked.data).get("module")) or 0)
        if prefix is None:
            return None  # a module that is newer than this list
        try:
            credentials = await self._minting.credentials() if self._minting else self._fixed()
        except CannotMint as problem:
            _log.error("no_storage_credentials", gateway=asked.gateway_id, reason=str(problem))
            return refused(FAILED, f"no credentials for the storage: {problem}", _BY)
        output: dict[str, Any] = {
            "bucket": settings.bucket,
            "credentials": {
                "access_key_id": credentials.access_key_id,
                "access_key_secret": credentials.access_key_secret,
                "expire": credentials.seconds,
                "security_token": credentials.security_token,
            },
            "endpoint": settings.endpoint,
            "object_key_prefix": prefix,
            "provider": settings.provider,
            "region": settings.region,
        }
        return accepted(_BY, output)

    def _fixed(self) -> Credentials:
        settings = self._settings
        id_, secret, token = (
            value.get_secret_value() if value else ""
            for value in (
                settings.access_key_id,
                settings.access_key_secret,
                settings.security_token,
            )
        )
        return Credentials(id_, secret, token, settings.credentials_seconds)
