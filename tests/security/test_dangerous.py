"""What can hurt people needs a scope of its own, by whichever way it is asked for."""

import pytest
from support.open_api import OpenApiUnderTest, submission

from dockgate_server.codec import catalogue

NAMED = (
    "takeoff_to_point",
    "fly_to_point",
    "flighttask_execute",
    "drone_control",
    "stick_control",
    "drone_emergency_stop",
    "drc_force_landing",
    "drc_emergency_landing",
    "device_format",
    "drone_format",
    "device_reboot",
    "ota_create",
)

RELAY = {
    "mqtt_broker": {
        "address": "elsewhere.example:8883",
        "client_id": "c",
        "username": "u",
        "password": "p",
        "expire_time": 1_900_000_000,
        "enable_tls": True,
    },
    "osd_frequency": 10,
    "hsi_frequency": 1,
}


@pytest.mark.parametrize("name", NAMED)
def test_what_moves_or_destroys_is_called_dangerous(name: str) -> None:
    assert catalogue.METHODS[name].spec.dangerous


async def test_handing_the_sticks_to_another_broker_is_dangerous(api: OpenApiUnderTest) -> None:
    """Whoever names the relay broker flies through it, past every scope and setting of ours."""
    answer = await api.post(submission(command_type="drc_mode_enter", payload=RELAY))
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert answer.body["metadata"] == {"scope": "open:command:dangerous"}
    assert await api.nothing_was_stored()
