"""What the fields of a credential may be."""

import pytest

from dockgate_server.access.forms import MOST_DEVICES, InvalidField, check


@pytest.mark.parametrize("tenant", ["a", "default", "North-2.fire_brigade", "9", "x" * 64])
@pytest.mark.parametrize("devices", [(), ("SN-1",), ("dock-*", "roof"), ("d*",), ("x" * 64,)])
@pytest.mark.parametrize("certificate", [None, "planner.example.com", "Fire brigade, north", "é"])
def test_fields_that_can_be(tenant: str, devices: tuple[str, ...], certificate: str | None) -> None:
    """Names as people and certificates have them."""
    fields = check("a label", tenant, devices, certificate)
    assert (fields.devices, fields.client_certificate) == (devices, certificate)


@pytest.mark.parametrize("tenant", ["", " ", "a b", "-a", ".", "é", "x" * 65, "a/b", "a\n"])
def test_a_tenant_is_a_plain_name(tenant: str) -> None:
    """It stands in logs and lists."""
    with pytest.raises(InvalidField, match="letters, digits") as wrong:
        check("", tenant, (), None)
    assert wrong.value.field == "tenant"


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("*", "every device"),
        ("do*ck", "elsewhere"),
        ("*dock", "elsewhere"),
        ("dock**", "elsewhere"),
        ("", "no serial number"),
        ("a b", "no serial number"),
        ("a/b", "no serial number"),
        ("a#", "no serial number"),
        ("x" * 65, "no serial number"),
    ],
)
def test_a_device_is_a_name_or_how_names_begin(device: str, problem: str) -> None:
    """A star at its end alone: what looks like another pattern would silently match nothing."""
    with pytest.raises(InvalidField, match=problem) as wrong:
        check("", "default", ("SN-1", device), None)
    assert wrong.value.field == "devices"


def test_a_limit_has_an_end() -> None:
    """It is looked at for every device."""
    names = [f"SN-{number}" for number in range(MOST_DEVICES + 1)]
    check("", "default", names[1:], None)
    with pytest.raises(InvalidField, match="up to 100"):
        check("", "default", names, None)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "x" * 256])
def test_a_certificate_name_is_one_that_can_be_seen(name: str) -> None:
    """One with a space at its end is a typing error that nobody would find."""
    with pytest.raises(InvalidField) as wrong:
        check("", "default", (), name)
    assert wrong.value.field == "client_certificate"
