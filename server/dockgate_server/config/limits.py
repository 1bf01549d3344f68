"""The section of what one credential, and one device, may take of the gateway."""

from pydantic import Field

from dockgate_server.config.sections import Section

MOST = 1_000_000_000
"""What can be set at most; no gateway gets there."""


class LimitsSection(Section):
    """What callers may use at most. What a connection may use stands with its server."""

    requests_per_second: float = Field(default=1000.0, ge=0.01, le=MOST)
    """Requests of one credential a second, in the long run; the start of a watch is one. GETs
    without a nonce, and emergencies beyond them, are counted by themselves, as many again of
    each."""
    requests_at_once: int = Field(default=10_000, ge=1, le=MOST)
    """How many of them a credential that has been quiet may send without waiting."""
    open_commands_per_credential: int = Field(default=100_000, ge=1, le=MOST)
    """Commands of one credential that have not ended."""
    open_commands_per_device: int = Field(default=20_000, ge=1, le=MOST)
    """Commands to one dock or remote controller, and what it carries, that have not ended.
    Emergencies are never refused by these two."""
    open_emergencies: int = Field(default=200, ge=1, le=MOST)
    """Emergencies of one method, by one credential to one dock or remote controller, that have not
    ended. Beyond it only that method of that credential is refused."""
    watches_per_credential: int = Field(default=10_000, ge=1, le=MOST)
    """Streams of one credential that are open at once, of all kinds together."""
