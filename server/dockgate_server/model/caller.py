"""On whose behalf something is asked."""

from dataclasses import dataclass

DEFAULT_TENANT = "default"
"""The tenant of every device and of every caller without an identity of its own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant whose commands and devices it may see, and itself."""

    tenant: str
    principal: str


LOCAL = Caller(DEFAULT_TENANT, "grpc")
"""A caller over gRPC, which is for internal services and has no identities yet."""
