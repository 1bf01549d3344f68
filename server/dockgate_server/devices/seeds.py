"""The devices that the configuration names."""

from dockgate_server.config import Settings
from dockgate_server.model.caller import DEFAULT_TENANT
from dockgate_server.model.device import Device


def seeds(settings: Settings) -> tuple[list[Device], list[Device]]:
    """The devices of the configuration, and those of them of which it says whose they are."""
    decided: dict[str | None, str] = {}
    for seed in settings.devices:
        if seed.tenant is not None:
            decided |= {seed.id: seed.tenant, seed.gateway or seed.id: seed.tenant}
    named = []
    for seed in settings.devices:
        tenant = decided.get(seed.id) or decided.get(seed.gateway) or DEFAULT_TENANT
        named.append(Device(tenant, seed.id, seed.gateway or seed.id))
    return named, [one for one in named if one.id in decided or one.gateway_id in decided]
