"""What answers to the requests of devices are made from, beside the configuration.

What :class:`~dockgate_server.store.interface.Store` says of changes holds here too.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dockgate_server.model.command import Command


@dataclass(frozen=True, slots=True)
class Binding:
    """A device that is bound to an organisation."""

    device_id: str
    organization_id: str
    callsign: str
    model: str = ""


class AnswerSources(Protocol):
    """Bindings of devices, and the flights that they were sent."""

    async def bindings(self, device_ids: Collection[str]) -> Mapping[str, Binding]:
        """Those of the devices that are bound."""

    def bind(
        self, gateway_id: str, bindings: Sequence[Binding], at: int
    ) -> asyncio.Future[frozenset[str]]:
        """Remember bindings; answers with the devices that were bound.

        One that is not known yet becomes known, under the gateway device that asks and in its
        tenant. One of another tenant is left alone.
        """

    async def newest_command(
        self, asking_id: str, gateway_id: str, command_type: str, flight_id: str
    ) -> Command | None:
        """The last command of that type for a flight of a gateway device; any if it is "".

        Of those that were sent; one that failed only where there is no other, as it should have
        started nothing.

        None also for one of another tenant than the gateway device's that asks.
        """
