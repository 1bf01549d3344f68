"""What a dock asks before it announces itself. Source: DJI's pages on config and organization."""

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dockgate_server.clock import Clock
from dockgate_server.config.providers import Organization
from dockgate_server.config.providers import Registration as Settings
from dockgate_server.model.device import SERIAL_NUMBER
from dockgate_server.model.device_request import Asked
from dockgate_server.providers import Answer, Provider, accepted, members, refused, text
from dockgate_server.store.sources import AnswerSources, Binding

REFUSED = 210231
"""What a device is told whose binding is refused. Source: DJI's example of an answer."""

_BY = "registration"
_WRONG = "there is no such organisation, or its binding code is another"
_OF_ANOTHER = "the device cannot be bound here"
_MOST_DEVICES = 32
_LONGEST_CALLSIGN = 200


OnBound = Callable[[str, Mapping[str, str]], None]


class Registration:
    """Answers from the settings, and remembers which devices are bound.

    Args:
        settings: App, licence, NTP server and organisations.
        sources: The bindings.
        clock: The time.
        on_bound: Is given the gateway device that asked, and the callsigns of the devices that
            were bound.
    """

    def __init__(
        self, settings: Settings, sources: AnswerSources, clock: Clock, on_bound: OnBound
    ) -> None:
        self._settings = settings
        self._on_bound = on_bound
        self._sources = sources
        self._clock = clock
        self._organizations = {one.id: one for one in settings.organizations}

    def by_method(self) -> dict[str, Provider]:
        """What can be answered with these settings."""
        found: dict[str, Provider] = {}
        if self._settings.app_id is not None:
            found["config"] = self.config
        if self._organizations:
            found |= {
                "airport_bind_status": self.bind_status,
                "airport_organization_get": self.organization_get,
                "airport_organization_bind": self.organization_bind,
            }
        return found

    async def config(self, asked: Asked) -> Answer:
        """App, licence and NTP server: the one answer without result and output."""
        settings = self._settings
        data = {
            "app_id": settings.app_id,
            "app_key": settings.app_key and settings.app_key.get_secret_value(),
            "app_license": settings.app_license and settings.app_license.get_secret_value(),
            "ntp_server_host": settings.ntp_server_host,
            "ntp_server_port": settings.ntp_server_port,
        }
        return Answer(data, _BY)

    async def bind_status(self, asked: Asked) -> Answer:
        """Which of the devices are bound, and to whom."""
        devices = _serial_numbers(members(asked.data).get("devices"))
        bindings = await self._sources.bindings(devices)
        statuses = [self._status(device, bindings.get(device)) for device in devices]
        return accepted(_BY, {"bind_status": statuses})

    async def organization_get(self, asked: Asked) -> Answer:
        """The name of an organisation, for who knows its binding code."""
        organization = self._organization(members(asked.data))
        if organization is None:
            return refused(REFUSED, _WRONG, _BY)
        return accepted(_BY, {"organization_name": organization.name})

    async def organization_bind(self, asked: Asked) -> Answer:
        """Bind devices, each by itself: the answer has a code for each."""
        wanted = [one for one in _dicts(members(asked.data).get("bind_devices")) if _sn(one)]
        bindings = [
            Binding(
                _sn(one),
                organization.id,
                text(one.get("device_callsign"))[:_LONGEST_CALLSIGN],
                text(one.get("device_model_key"))[:_LONGEST_CALLSIGN],
            )
            for one in wanted
            if (organization := self._organization(one)) is not None
        ]
        now = self._clock.now_ms()
        bound = await self._sources.bind(asked.gateway_id, bindings, now) if bindings else ()
        if bound:
            named = {one.device_id: one.callsign for one in bindings if one.device_id in bound}
            self._on_bound(asked.gateway_id, named)
        codes = {_sn(one): 0 if _sn(one) in bound else REFUSED for one in wanted}
        output = {"err_infos": [{"sn": sn, "err_code": code} for sn, code in codes.items()]}
        if not wanted:
            return refused(REFUSED, "the request names no device", _BY, **output)
        known = {binding.device_id for binding in bindings}
        reasons = [
            f"{sn}: {_OF_ANOTHER if sn in known else _WRONG}" for sn, code in codes.items() if code
        ]
        return Answer({"result": 0, "output": output}, _BY, "; ".join(reasons))

    def _status(self, device_id: str, binding: Binding | None) -> dict[str, Any]:
        organization = binding and self._organizations.get(binding.organization_id)
        return {
            "sn": device_id,
            "is_device_bind_organization": organization is not None,
            "organization_id": organization.id if organization else "",
            "organization_name": organization.name if organization else "",
            "device_callsign": binding.callsign if binding and organization else "",
        }

    def _organization(self, data: Mapping[Any, Any]) -> Organization | None:
        """The organisation that the device names, if it also knows the binding code."""
        organization = self._organizations.get(text(data.get("organization_id")))
        if organization is None:
            return None
        given = text(data.get("device_binding_code")).encode()
        right = organization.binding_code.get_secret_value().encode()
        return organization if hmac.compare_digest(given, right) else None


def _dicts(value: object) -> Iterable[Mapping[Any, Any]]:
    listed = value if isinstance(value, list) else []
    return [one for one in listed[:_MOST_DEVICES] if isinstance(one, Mapping)]


def _sn(data: Mapping[Any, Any]) -> str:
    sn = text(data.get("sn"))
    return sn if SERIAL_NUMBER.fullmatch(sn) else ""


def _serial_numbers(value: object) -> Sequence[str]:
    return [sn for one in _dicts(value) if (sn := _sn(one))]
