"""On whose behalf something is asked, and what that allows."""

import enum
from dataclasses import dataclass

DEFAULT_TENANT = "default"
"""The tenant of every device and of every caller without an identity of its own."""


class Scope(enum.StrEnum):
    """What a caller may do. Source: the scopes of the open API."""

    CREATE = "open:command:create"
    READ = "open:command:read"
    DANGEROUS = "open:command:dangerous"
    """Methods that the schema calls dangerous: they move an aircraft or destroy something."""
    RAW = "open:command:raw"
    """Methods that the schema does not have."""
    REQUESTS_READ = "open:device-request:read"
    """See what devices ask for, and what they were answered."""
    REQUESTS_CREATE = "open:device-request:create"
    """Answer what devices ask for."""


ORDINARY = frozenset({Scope.CREATE, Scope.READ})
"""What a caller may do unless somebody decides otherwise."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant whose commands and devices it may see, itself, and its scopes."""

    tenant: str
    principal: str
    scopes: frozenset[Scope] = ORDINARY


LOCAL = Caller(DEFAULT_TENANT, "grpc", frozenset(Scope))
"""A caller over gRPC, which is for internal services and has no identities yet."""
