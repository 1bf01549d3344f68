"""Files that a dock looks for before a drone takes off; it waits when nobody answers.

Source: DJI's page on custom flight areas, and its Java SDK for the offline map.
"""

from collections.abc import Sequence

from dockgate_server.config.providers import OfferedFile, Takeoff
from dockgate_server.model.device_request import Asked
from dockgate_server.providers import Answer, Provider, accepted

_BY = "takeoff"


class Files:
    """Answers with the files of the settings; with none where there are none."""

    def __init__(self, settings: Takeoff) -> None:
        self._settings = settings

    def by_method(self) -> dict[str, Provider]:
        """What can be answered with these settings."""
        return {"flight_areas_get": self.flight_areas, "offline_map_get": self.offline_map}

    async def flight_areas(self, asked: Asked) -> Answer:
        """The files of custom flight areas."""
        return accepted(_BY, {"files": _listed(self._settings.flight_areas)})

    async def offline_map(self, asked: Asked) -> Answer:
        """The files of the offline map, and whether there is one."""
        files = _listed(self._settings.offline_maps)
        return accepted(_BY, {"offline_map_enable": bool(files), "files": files})


def _listed(files: Sequence[OfferedFile]) -> list[dict[str, object]]:
    return [file.model_dump() for file in files]
