"""What the gateway asks of a store, whichever database is behind it.

Changes are made in the order in which they are asked for and are durable when their future
resolves. Only the acceptance of emergencies, intents to send that say so, and taking an intent back
overtake: they are made before all others that wait, in order among themselves. Changes are not
undone when the asker goes away: a cancelled await does not take back what was asked. A change that
the database cannot take fails with UNAVAILABLE and has not happened; where the disk leaves that
open, a restart may show that it has, and the message says so.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from dockgate_server.model.audit import Entry
from dockgate_server.model.command import Command, CommandEvent, CommandFilter
from dockgate_server.model.transitions import Accept, Accepted, Nonce, Transition, Unmatched
from dockgate_server.store.audit import AuditLog
from dockgate_server.store.secrets import Secrets

OnCommit = Callable[[Sequence[CommandEvent]], None]
"""Called on the event loop with the events of a commit, before anybody who waits for it goes on."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller proves itself with: an API ID and its secrets, sealed."""

    api_id: str
    tenant: str
    label: str
    scopes: str
    """What it may do: names of scopes, separated by spaces."""
    sealed_secret: bytes
    """The newest secret."""
    created_at: int
    disabled_at: int | None = None
    devices: str = ""
    """Which devices it may reach: names or their beginnings, separated by spaces; "" for all."""
    client_certificate: str | None = None
    """The name in a client certificate that stands for the secret."""
    secret_at: int = 0
    """When the newest secret was made."""
    older_secret: bytes | None = None
    """The one before, while keys are rotated: both are good."""
    older_secret_at: int | None = None


Target = tuple[str, str]
"""Where a command went: the gateway device, and the device as the caller named it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of commands, newest first: fewer than were asked for where they are large."""

    commands: tuple[Command, ...]
    next_before: int | None
    """The seq before which the next page begins; None behind the last one."""


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """A page of replies that fit no command, newest first: fewer where they are large."""

    replies: tuple[Unmatched, ...]
    next_before: int | None
    """The seq before which the next page begins; None behind the last one."""
    recorded: int
    """How many there have been since the database was made."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a step of removing what is old did."""

    removed: int
    """How many rows it removed."""
    position: int | None
    """The seq behind which the next step goes on; None when only what is young is left."""


class Store(Protocol):
    """The record of every command, device and key."""

    @property
    def secrets(self) -> Secrets:
        """What is kept sealed."""

    @property
    def audit(self) -> AuditLog:
        """Who asked for what."""

    # Changes to commands.

    def accept(self, accept: Accept) -> asyncio.Future[Accepted]:
        """Insert a command, or find the one that holds its idempotency key."""

    def apply(self, transition: Transition) -> asyncio.Future[tuple[CommandEvent, ...]]:
        """Make a change; answers with the events it caused, none where its guard failed."""

    # Reading commands. A command of another tenant does not exist.

    async def find_accepted(self, tenant: str, idempotency_key: str) -> Accepted | None:
        """The command that holds the key, as it was at acceptance."""

    async def get_command(self, tenant: str, command_id: str) -> Command | None:
        """The command as it is now."""

    async def list_commands(
        self,
        tenant: str,
        which: CommandFilter,
        before: int | None,
        limit: int,
        among: Sequence[Target] | None = None,
    ) -> Page:
        """Commands, newest first, that were accepted before the given seq.

        Where ``among`` is given, only those that went to one of these targets.
        """

    async def targets(self, tenant: str) -> Sequence[Target]:
        """Where a tenant's commands went."""

    async def events_of_command(
        self, tenant: str, command_id: str, after_revision: int, limit: int
    ) -> Sequence[CommandEvent]:
        """A command's events behind a revision, oldest first: fewer where they are large.

        Raises:
            DockgateError: CURSOR_EXPIRED, when some of them have been removed: a command with very
                many goes in parts.
        """

    async def events_of_all_commands(self, after: int, limit: int) -> Sequence[CommandEvent]:
        """Events of every tenant behind an event's seq, oldest first: fewer where they are large.

        Raises:
            DockgateError: CURSOR_EXPIRED, when some of them have been removed.
        """

    async def newest_event_seq(self) -> int:
        """The seq of the last event there was, removed or not; 0 when there was none."""

    def open_commands(self) -> AsyncIterator[Sequence[Command]]:
        """All open commands of every tenant, in the order accepted, in chunks."""

    async def open_places(self) -> Sequence[tuple[int, str, str, str]]:
        """Seq, gateway device, principal and method of every open command of every tenant."""

    def commands_with_open_jobs(self) -> AsyncIterator[Sequence[Command]]:
        """Commands of every tenant whose job goes on or was never reported, in chunks."""

    async def last_sent(self, from_seq: int) -> Sequence[tuple[str, str, int]]:
        """Gateway, method and seq of the newest of each that may have arrived, from a seq on."""

    # Removing what is old.

    def remove_old(self, cutoff: int, now: int, after: int) -> asyncio.Future[Swept]:
        """A step along the order of acceptance, behind a seq.

        Ended commands go that were accepted and last changed before ``cutoff``, with their
        events and their idempotency keys; of one with very many events the oldest go first.
        """

    # Replies that fit no command.

    def record_unmatched(self, unmatched: Unmatched) -> asyncio.Future[None]:
        """Put a reply into the ledger."""

    async def list_unmatched(
        self,
        tenant: str,
        gateway_id: str,
        before: int | None,
        limit: int,
        among: Collection[str] | None = None,
    ) -> LedgerPage:
        """The ledger of a tenant's devices, or of one gateway device, before the given seq.

        Where ``among`` is given, only of these gateway devices.
        """

    async def unmatched_gateways(self, tenant: str) -> Collection[str]:
        """The gateway devices that are in a tenant's ledger."""

    # Credentials.

    def add_credential(
        self, credential: Credential, audit: Entry | None = None
    ) -> asyncio.Future[bool]:
        """Remember a new one; False when its client certificate is another's.

        As with the other changes here, what the audit log says of it is recorded with it.
        """

    def rotate_credential(
        self, api_id: str, sealed: bytes, at: int, audit: Entry | None = None
    ) -> asyncio.Future[bool]:
        """Give it a second secret; False when it has two, is disabled or not there."""

    def end_older_secret(self, api_id: str, audit: Entry | None = None) -> asyncio.Future[bool]:
        """Forget the older of two secrets; False when there are not two."""

    def end_newer_secret(self, api_id: str, audit: Entry | None = None) -> asyncio.Future[bool]:
        """Forget the newer of two secrets; False when there are not two."""

    def disable_credential(
        self, api_id: str, at: int, audit: Entry | None = None
    ) -> asyncio.Future[bool]:
        """Disable it; False when there is no such one or it is disabled already."""

    async def get_credential(self, api_id: str) -> Credential | None:
        """The one of that API ID."""

    async def get_credential_of_certificate(self, name: str) -> Credential | None:
        """The one that is not disabled and has a client certificate of that name."""

    async def list_credentials(self) -> Sequence[Credential]:
        """Every one, oldest first."""

    async def usable_credentials(self) -> Sequence[tuple[str, str | None]]:
        """API ID and client certificate of every one that is not disabled."""

    def use_nonce(self, nonce: Nonce) -> asyncio.Future[bool]:
        """Use a nonce up; False when it was used before."""

    def forget_nonces(self, now: int) -> asyncio.Future[None]:
        """Drop the nonces that can no longer be replayed."""
