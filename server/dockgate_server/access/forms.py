"""What the fields of a credential may be. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from dockgate_server.model.caller import TENANT
from dockgate_server.model.device import SERIAL_NUMBER

LONGEST_LABEL = 100
"""Characters."""

MOST_DEVICES = 100
"""Names and beginnings in the limit of one credential."""

_LONGEST_CERTIFICATE = 255


class InvalidField(ValueError):
    """A field of a credential cannot be so.

    Args:
        field: Which one: ``label``, ``tenant``, ``devices`` or ``client_certificate``.
        problem: What is wrong, without the name.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields that can be stored."""

    devices: tuple[str, ...]
    """Each once, in the order given."""
    client_certificate: str | None

    def certificate_is_taken(self) -> InvalidField:
        """What is wrong when another credential has the same client certificate."""
        return InvalidField(
            "client_certificate",
            f"{self.client_certificate!r} stands for another API key that is in use",
        )


def check(
    label: str, tenant: str, devices: Sequence[str], client_certificate: str | None
) -> Fields:
    """Look at the fields of a credential that is to be made.

    Raises:
        InvalidField: The first one that cannot be so.
    """
    if len(label) > LONGEST_LABEL or not label.isprintable():
        raise InvalidField("label", f"must be up to {LONGEST_LABEL} printable characters")
    if not TENANT.fullmatch(tenant):
        raise InvalidField(
            "tenant",
            "must be 1 to 64 letters, digits, dots, hyphens and underscores, and begin with a "
            "letter or digit",
        )
    if len(devices) > MOST_DEVICES:
        raise InvalidField("devices", f"must be up to {MOST_DEVICES}; use beginnings, as in dock-*")
    for device in devices:
        _check_device(device)
    if client_certificate is not None and not _is_certificate_name(client_certificate):
        raise InvalidField(
            "client_certificate",
            f"must be 1 to {_LONGEST_CERTIFICATE} printable characters without a space at either "
            "end",
        )
    return Fields(tuple(dict.fromkeys(devices)), client_certificate)


def _check_device(device: str) -> None:
    name = device.removesuffix("*")
    if not name and device:
        raise InvalidField("devices", "'*' is every device; for that, name none")
    if "*" in name:
        raise InvalidField("devices", f"{device[:100]!r} has a '*' elsewhere than at its end")
    if not SERIAL_NUMBER.fullmatch(name):
        raise InvalidField(
            "devices",
            f"{device[:100]!r} is no serial number, alias, or beginning of one with '*' behind it",
        )


def _is_certificate_name(name: str) -> bool:
    return name.isprintable() and name == name.strip() and 0 < len(name) <= _LONGEST_CERTIFICATE
