"""On whose behalf something is asked, and what that allows."""

import enum
import re
from typing import NamedTuple

TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The shape of a tenant's name."""

DEFAULT_TENANT = "default"
"""The tenant of every device and of every caller without an identity of its own."""


class Scope(enum.StrEnum):
    """What a caller may do. Source: the scopes of the open API."""

    CREATE = "open:command:create"
    READ = "open:command:read"
    DANGEROUS = "open:command:dangerous"
    """Methods that the schema calls dangerous: they move an aircraft or destroy something. And
    requests of devices whose answers do."""
    RAW = "open:command:raw"
    """Methods that the schema does not have."""
    REQUESTS_READ = "open:device-request:read"
    """See what devices ask for, and what they were answered."""
    REQUESTS_CREATE = "open:device-request:create"
    """Answer what devices ask for."""


ORDINARY = frozenset({Scope.CREATE, Scope.READ})
"""What a caller may do unless somebody decides otherwise."""


class Origin(NamedTuple):
    """Where a call came from; for the audit log, decides nothing."""

    transport: str = ""
    """``grpc`` or ``http``."""
    peer: str = ""
    """The address at the other end, as HOST:PORT."""
    request_id: str = ""
    """The call's own id, which its answer and the log carry."""


class Caller(NamedTuple):
    """Who asks: the tenant whose commands and devices it may see, itself, and its scopes."""

    tenant: str
    principal: str
    scopes: frozenset[Scope] = ORDINARY
    devices: tuple[str, ...] = ()
    """The devices that it may reach, by serial number or alias, or by how these begin
    (``dock-*``); all of its tenant when there are none."""
    origin: Origin = Origin()

    def may_reach(self, *names: str) -> bool:
        """Whether a device that goes by those names is among its own."""
        return not self.devices or any(
            name == allowed or (allowed.endswith("*") and name.startswith(allowed[:-1]))
            for allowed in self.devices
            for name in names
        )


LOCAL = Caller(DEFAULT_TENANT, "local", frozenset(Scope))
"""A caller on this machine over gRPC without TLS, which is for development: it may do all."""
