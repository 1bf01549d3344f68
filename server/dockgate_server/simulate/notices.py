"""What a dock tells on events without being asked, as data, for load. Pure.

DJI: dock-to-cloud/mqtt/dock/dock3/hms, airsense, wayline and file, and recorded events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that belongs to no command."""

    method: str
    data: Any
    need_reply: int | None = None


def notice(number: int, *, drone: str) -> Notice:
    """Return the event that comes at this place in the row, counted from 0.

    hms, device_exit_homing_notify, airsense_warning and file_upload_callback take turns: every
    second one asks for an answer.
    """
    match number % 4:
        case 0:
            return Notice("hms", {"list": []})
        case 1:
            # The reason is a number on paper, and a text in DJI's example.
            data = {"sn": drone, "action": number // 4 % 2, "reason": "0"}
            return Notice("device_exit_homing_notify", data, need_reply=1)
        case 2:
            return Notice("airsense_warning", [_AIRCRAFT], need_reply=0)
        case _:
            return Notice("file_upload_callback", _uploaded(number // 4), need_reply=1)


_AIRCRAFT = {
    "altitude": 6110,
    "altitude_type": 0,
    "distance": 29290,
    "heading": 28.4,
    "icao": "780533",
    "latitude": 30.136289,
    "longitude": 121.484619,
    "relative_altitude": 6048,
    "vert_trend": 2,
    "warning_level": 1,
}


def _uploaded(number: int) -> dict[str, Any]:
    name = f"DJI_{number:04}_V.jpg"
    return {
        "file": {
            "object_key": f"media/{name}",
            "path": "",
            "name": name,
            "ext": {
                "flight_id": "",
                "drone_model_key": "0-100-1",
                "payload_model_key": "1-99-0",
                "is_original": True,
            },
            "metadata": {
                "gimbal_yaw_degree": "-91.40",
                "absolute_altitude": 91.65,
                "relative_altitude": 62.3,
                "create_time": "2026-05-21 08:28:05",
                "shoot_position": {"lat": 29.92431, "lng": 121.664744},
            },
        }
    }
