"""What is secret in requests and answers."""

from typing import Any

import pytest

from dockgate_server.providers.redaction import without_secrets


@pytest.mark.parametrize(
    "name",
    [
        "app_key",
        "app_license",
        "device_binding_code",
        "device_secret",
        "access_key_id",
        "access_key_secret",
        "security_token",
        "token",
        "password",
        # Only the schema says so of these.
        "secret_code",
        "username",
        "client_id",
    ],
)
def test_secret_members_are_left_out(name: str) -> None:
    """At any depth, and whatever their value is."""
    value = {"a": [{name: "hush", "b": 1}], name: {"hush": "hush"}}
    assert without_secrets(value) == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://f.example/a.kmz?X-Amz-Signature=hush", "https://f.example/a.kmz"),
        ("https://me:hush@f.example/a@b.kmz#hush", "https://f.example/a@b.kmz"),
        ("https://f.example/a.kmz", "https://f.example/a.kmz"),
        ("a?hush\nhush", "a"),
    ],
)
def test_an_address_keeps_what_names_the_file(address: str, shown: str) -> None:
    """And loses what gives access to it."""
    assert without_secrets({"file": {"url": address}}) == {"file": {"url": shown}}


@pytest.mark.parametrize("value", [None, "text", 1, [], {}, [1, "a"], {"url": ["x"]}, {"a": None}])
def test_everything_else_stays(value: Any) -> None:
    """Also what is no object."""
    assert without_secrets(value) == value
