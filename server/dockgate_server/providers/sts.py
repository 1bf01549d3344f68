"""Credentials that hold for a while, minted by S3's STS (AssumeRole) with boto3.

boto3 is optional, slow to import, and blocks: so it is imported and used on a thread, one call at
a time. What is minted serves every dock until shortly before it expires.
"""

import asyncio
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dockgate_server.clock import Clock
from dockgate_server.config.providers import ObjectStorage

EARLY_SECONDS = 300.0
"""Before they expire, others are minted: a dock must have some time to use them."""

PATIENCE_SECONDS = 10.0
"""How long a dock is kept waiting for credentials; it waits 40 s for the whole answer."""

_CONNECT_SECONDS = 3
_READ_SECONDS = 5
_SESSION = "dockgate"


class CannotMint(Exception):
    """There are no credentials; the message says why, and nothing that is secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key for the storage."""

    access_key_id: str = field(repr=False)
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False)
    seconds: int
    """How long they hold."""


class Minting:
    """Keeps credentials at hand.

    Args:
        mint: Mints them; blocks, and runs on a thread.
        clock: The time.
        patience_seconds: How long to wait for it.
    """

    def __init__(
        self,
        mint: Callable[[], Credentials],
        clock: Clock,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._mint = mint
        self._clock = clock
        self._patience = patience_seconds
        self._kept: Credentials | None = None
        self._kept_until = 0.0
        self._minting: asyncio.Task[Credentials] | None = None

    async def credentials(self) -> Credentials:
        """Credentials that hold for some time yet.

        Raises:
            CannotMint: There are none.
        """
        left = self._kept_until - self._clock.monotonic()
        if self._kept is not None and left > EARLY_SECONDS:
            return replace(self._kept, seconds=int(left))
        if self._minting is None or self._minting.done():
            self._minting = asyncio.create_task(self._minted(), name="sts")
            self._minting.add_done_callback(_look_at)
        try:
            # Whoever loses patience leaves the call to those behind: there is never a second one.
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(self._minting)
        except TimeoutError:
            raise CannotMint(f"the STS did not answer within {self._patience:g} s") from None

    async def _minted(self) -> Credentials:
        # The time counts from before the call, on a clock that never steps.
        began = self._clock.monotonic()
        credentials = await asyncio.to_thread(self._mint)
        self._kept, self._kept_until = credentials, began + credentials.seconds
        return credentials


def _look_at(minted: "asyncio.Task[Credentials]") -> None:
    """Everybody may have lost patience; then nobody else looks at what went wrong."""
    if not minted.cancelled():
        minted.exception()


def assume_role(settings: ObjectStorage) -> Callable[[], Credentials]:
    """What mints credentials as the settings say.

    Raises:
        CannotMint: boto3 is not installed.
    """
    if importlib.util.find_spec("boto3") is None:
        raise CannotMint(
            "object_storage.sts_role_arn needs boto3; install dockgate with the extra sts"
        )
    clients: list[Any] = []

    def mint() -> Credentials:
        from botocore.exceptions import ClientError

        try:
            if not clients:
                clients.append(_client(settings))
            answer = clients[0].assume_role(
                RoleArn=settings.sts_role_arn,
                RoleSessionName=_SESSION,
                DurationSeconds=settings.credentials_seconds,
            )
            minted = answer["Credentials"]
            return Credentials(
                minted["AccessKeyId"],
                minted["SecretAccessKey"],
                minted["SessionToken"],
                settings.credentials_seconds,
            )
        except ClientError as error:
            # Of what the STS says only the code is certainly without secrets.
            code = error.response.get("Error", {}).get("Code", "an error")
            raise CannotMint(f"the STS answered {code}") from None
        except Exception as error:
            # What it raises for an answer that it cannot read is not of its own kinds.
            raise CannotMint(f"the STS cannot be used: {type(error).__name__}") from None

    return mint


def _client(settings: ObjectStorage) -> Any:
    import boto3
    from botocore.config import Config

    key, secret, token = (
        value.get_secret_value() if value else None
        for value in (settings.access_key_id, settings.access_key_secret, settings.security_token)
    )
    patience = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 1},
    )
    # A session of our own: boto3's default one is not for threads.
    return boto3.session.Session(
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token
    ).client(
        "sts", region_name=settings.region, endpoint_url=settings.sts_endpoint, config=patience
    )
