"""Which devices a caller may reach, where its credential is limited to some.

A device is reached by its serial number, its alias, or the serial number of its gateway device: a
limit to a dock reaches the drone that is in it now. All of this is within one tenant.
"""

from dockgate_server import asking
from dockgate_server.devices.registry import Registry, unknown_device
from dockgate_server.model.caller import Caller
from dockgate_server.model.device import Device


class Reach:
    """What one caller may reach, as devices are now.

    Args:
        registry: Knows what devices are called and where they are.
        caller: Who asks.
    """

    __slots__ = ("_registry", "caller")

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self.caller = caller

    @property
    def is_limited(self) -> bool:
        """Whether there can be devices of its tenant that it may not reach."""
        return bool(self.caller.devices)

    def has(self, device: Device) -> bool:
        """Whether it may reach a device of its tenant."""
        return self.caller.may_reach(device.id, device.alias or device.id, device.gateway_id)

    def has_gateway(self, gateway_id: str) -> bool:
        """Whether it may reach a gateway device, which may not be known any more."""
        if self.caller.may_reach(gateway_id):
            return True
        gateway = self._registry.find(self.caller.tenant, gateway_id)
        return gateway is not None and gateway.id == gateway_id and self.has(gateway)

    def has_target(self, gateway_id: str, device_id: str) -> bool:
        """Whether it may reach where a command went.

        Args:
            gateway_id: The gateway device that it went to.
            device_id: The device as the command names it.
        """
        if self.caller.may_reach(device_id, gateway_id):
            return True
        device = self._registry.find(self.caller.tenant, device_id)
        # By what else it is called. A name may have been another device's then, so only where it
        # still is under that gateway.
        return device is not None and device.gateway_id == gateway_id and self.has(device)

    def resolve(self, device_id: str) -> Device:
        """The device of that alias or serial number.

        Raises:
            DockgateError: DEVICE_NOT_FOUND, FORBIDDEN.
        """
        device = self._registry.resolve(self.caller.tenant, device_id)
        if not self.has(device):
            raise asking.out_of_reach(self.caller, device_id)
        return device

    def check_serial_number(self, serial_number: str, *, must_be_known: bool) -> None:
        """Refuse a device that a command is to name to another one.

        By its number alone: the device that reads it knows no aliases, and the alias of one could
        be the number of another tenant's.

        Raises:
            DockgateError: DEVICE_NOT_FOUND, FORBIDDEN.
        """
        device = self._registry.get(serial_number)
        if device is None and not must_be_known:
            return
        if device is None or not self._registry.belongs(device, self.caller.tenant):
            raise unknown_device(serial_number)
        if not self.has(device):
            raise asking.out_of_reach(self.caller, serial_number)

    def serial_number(self, device_id: str) -> str:
        """That of a device by its alias; the name as it is, of one that is not known."""
        device = self._registry.find(self.caller.tenant, device_id)
        return device_id if device is None else device.id

    def check_name(self, device_id: str) -> None:
        """Refuse the name of a known device that is out of reach; "" is none.

        Raises:
            DockgateError: FORBIDDEN.
        """
        device = self._registry.find(self.caller.tenant, device_id) if device_id else None
        if device is not None and not self.has(device):
            raise asking.out_of_reach(self.caller, device_id)
