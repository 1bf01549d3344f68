"""Which requests are answered with which settings."""

from pathlib import Path
from typing import Any

import pytest
from support.clock import ManualClock

from dockgate_server import app, config
from dockgate_server.providers.wiring import providers
from dockgate_server.store.sqlite import SqliteStore

ALWAYS = {
    "flight_areas_get",
    "offline_map_get",
    "flighttask_resource_get",
    "flighttask_progress_get",
}
APP = {"app_id": "1", "app_key": "k", "app_license": "l"}
ORGANIZATION = {"id": "o-1", "name": "One", "binding_code": "c"}
STORAGE = {
    "bucket": "b",
    "endpoint": "https://s3.example",
    "region": "r",
    "access_key_id": "i",
    "access_key_secret": "s",
}
ROLE = "arn:aws:iam::123456789012:role/dock"


@pytest.mark.parametrize(
    ("sections", "more"),
    [
        ({}, set()),
        ({"registration": APP}, {"config"}),
        (
            {"registration": {"organizations": [ORGANIZATION]}},
            {"airport_bind_status", "airport_organization_get", "airport_organization_bind"},
        ),
        ({"object_storage": STORAGE}, {"storage_config_get"}),
    ],
)
async def test_what_is_configured_is_answered(
    tmp_path: Path, sections: dict[str, Any], more: set[str]
) -> None:
    """Files and flights always: an empty answer is one, and commands are known."""
    settings = config.load(**sections)
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        made = providers(settings, store.sources, ManualClock(), lambda *_: None)
    assert set(made._by_method) == ALWAYS | more


async def test_a_gateway_that_could_not_mint_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than telling every dock no."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = config.load(
        object_storage={**STORAGE, "sts_role_arn": ROLE},
        store={"path": tmp_path / "dockgate.db"},
    )
    with pytest.raises(app.StartProblem, match="extra sts"):
        async with app.running(settings):
            pass


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are not shown with the rest."""
    monkeypatch.setenv("DOCKGATE_REGISTRATION__APP_KEY", "hush")
    monkeypatch.setenv("DOCKGATE_REGISTRATION__APP_LICENSE", "hush")
    settings = config.load(registration={"app_id": "1"})
    key = settings.registration.app_key
    assert key is not None
    assert key.get_secret_value() == "hush"
    assert "hush" not in repr(settings)
