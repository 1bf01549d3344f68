"""What a dock asks about flights: answered from the commands that were sent to it."""

from typing import Any

import orjson

from dockgate_server.model.command import JobState, Status
from dockgate_server.model.device import SERIAL_NUMBER
from dockgate_server.model.device_request import Asked
from dockgate_server.model.reply import as_integer
from dockgate_server.providers import Answer, Provider, accepted, members, text
from dockgate_server.store.sources import AnswerSources

_BY = "commands"


class Flights:
    """Answers from the record of commands; what is not in it, a person must answer."""

    def __init__(self, sources: AnswerSources) -> None:
        self._sources = sources

    def by_method(self) -> dict[str, Provider]:
        """What can be answered."""
        return {
            "flighttask_resource_get": self.resource,
            "flighttask_progress_get": self.progress,
        }

    async def resource(self, asked: Asked) -> Answer | None:
        """The route file of a flight, as it was sent with flighttask_prepare and not refused."""
        flight_id = text(members(asked.data).get("flight_id"))
        if not flight_id:
            return None
        gateway = asked.gateway_id
        command = await self._sources.newest_command(
            gateway, gateway, "flighttask_prepare", flight_id
        )
        if command is None or command.status is Status.FAILED:
            return None
        file = members(members(orjson.loads(command.data)).get("file"))
        if not text(file.get("url")):
            return None
        return accepted(_BY, {"file": {name: file.get(name) for name in ("url", "fingerprint")}})

    async def progress(self, asked: Asked) -> Answer | None:
        """How far a flight is; where two docks share one, a dock asks about the other's."""
        data = members(asked.data)
        # Source: DJI's wayline page; `target_sn` and `flight_id` on Dock 2, `sn` on Dock 3.
        gateway = text(data.get("target_sn")) or text(data.get("sn")) or asked.gateway_id
        if not SERIAL_NUMBER.fullmatch(gateway):
            return None
        command = await self._sources.newest_command(
            asked.gateway_id, gateway, "flighttask_execute", text(data.get("flight_id"))
        )
        job = command.job if command is not None else None
        if command is None or job is None or job.state is JobState.STALLED:
            return None
        progress: dict[str, Any] = {
            "current_step": as_integer(job.step) or 0,
            "percent": job.percent or 0,
        }
        output = {
            "flight_id": command.job_key,
            "progress": progress,
            "status": job.state.lower(),
        }
        return accepted(_BY, output)
