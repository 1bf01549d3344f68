"""What the gateway asks of a store, whichever database is behind it.

Changes are made in the order in which they are asked for and are durable when their future
resolves. They are not undone when the asker goes away: a cancelled await does not take back what
was asked. A change that the database cannot take fails with UNAVAILABLE and has not happened.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dockgate_server.model.command import Command, CommandEvent, CommandFilter
from dockgate_server.model.device import Device, Topology
from dockgate_server.model.transitions import Accept, Accepted, Transition, Unmatched

OnCommit = Callable[[Sequence[CommandEvent]], None]
"""Called on the event loop with the events of a commit, before any future of it resolves."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key of the open API, its secret sealed."""

    api_id: str
    tenant: str
    label: str
    scopes: str
    """What it may do: names of scopes, separated by spaces."""
    sealed_secret: bytes
    created_at: int
    disabled_at: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of commands, newest first."""

    commands: tuple[Command, ...]
    next_before: int | None
    """The seq before which the next page begins; None behind the last one."""


class Store(Protocol):
    """The record of every command, device and key."""

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
        self, tenant: str, which: CommandFilter, before: int | None, limit: int
    ) -> Page:
        """Commands, newest first, that were accepted before the given seq."""

    async def events_of_command(
        self, tenant: str, command_id: str, after_revision: int, limit: int
    ) -> Sequence[CommandEvent]:
        """A command's events behind a revision, oldest first."""

    async def events_of_all_commands(self, after: int, limit: int) -> Sequence[CommandEvent]:
        """Events of every tenant behind an event's seq, oldest first."""

    async def newest_event_seq(self) -> int:
        """The seq of the last event, 0 when there is none."""

    def open_commands(self) -> AsyncIterator[Sequence[Command]]:
        """All open commands of every tenant, in the order accepted, in chunks."""

    async def sent_after(self, command: Command) -> bool:
        """Whether a command accepted later may have been sent to the same gateway."""

    # Replies that fit no command.

    def record_unmatched(self, unmatched: Unmatched) -> asyncio.Future[None]:
        """Put a reply into the ledger."""

    async def list_unmatched(self, limit: int) -> Sequence[Unmatched]:
        """The ledger, newest first."""

    # Devices.

    def save_topology(self, tenant: str, topology: Topology) -> asyncio.Future[None]:
        """Remember a gateway device and what is connected to it."""

    async def list_devices(self) -> Sequence[Device]:
        """Every device of every tenant."""

    # Keys of the open API.

    def add_credential(self, credential: Credential) -> asyncio.Future[None]:
        """Remember a new key."""

    def disable_credential(self, api_id: str, at: int) -> asyncio.Future[bool]:
        """Disable a key; False when there is no such key or it is disabled already."""

    async def get_credential(self, api_id: str) -> Credential | None:
        """The key of that API ID."""

    async def list_credentials(self) -> Sequence[Credential]:
        """Every key."""

    def use_nonce(self, api_id: str, nonce: str, expires_at: int) -> asyncio.Future[bool]:
        """Use a nonce up; False when it was used before."""

    def forget_nonces(self, now: int) -> asyncio.Future[None]:
        """Drop the nonces that can no longer be replayed."""
