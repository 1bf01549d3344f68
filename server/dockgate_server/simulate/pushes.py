"""What a dock under direct control pushes on drc/up without being asked, as data. Pure.

DJI: dock-to-cloud/mqtt/dock/dock3/drc and remote-control. The older pushes have a timestamp, and in
some of DJI's examples no method; those named drc_… have a seq, the device's own.
"""

from __future__ import annotations

from typing import Any

_SIDES = ("up", "down", "left", "right", "front", "back", "vertical", "horizontal")


def push(number: int, *, now_ms: int) -> dict[str, Any]:
    """Return the message that comes at this place in the row, counted from 0.

    osd_info_push, hsi_info_push, delay_info_push and drc_drone_state_push take turns; every second
    osd_info_push has no method.
    """
    rounds, turn = divmod(number, 4)
    match turn:
        case 0:
            name = {} if rounds % 2 else {"method": "osd_info_push"}
            return {**name, "timestamp": now_ms, "data": _position(rounds)}
        case 1:
            return {"method": "hsi_info_push", "timestamp": now_ms, "data": _surroundings()}
        case 2:
            delays = [{"video_id": "1581F5BMD23280001/81-0-0/normal-0", "liveview_delay_time": 60}]
            data = {"sdr_cmd_delay": 10, "liveview_delay_list": delays}
            return {"method": "delay_info_push", "timestamp": now_ms, "data": data}
        case _:
            return {"method": "drc_drone_state_push", "seq": rounds, "data": _state()}


def _position(rounds: int) -> dict[str, float]:
    return {
        "attitude_head": float(rounds % 360 - 180),
        "latitude": 22.579,
        "longitude": 113.94,
        "height": 100.5,
        "speed_x": 0.0,
        "speed_y": 0.0,
        "speed_z": 0.0,
        "gimbal_pitch": -30.0,
        "gimbal_roll": 0.0,
        "gimbal_yaw": 0.0,
    }


def _surroundings() -> dict[str, Any]:
    data: dict[str, Any] = {"up_distance": 60_000, "down_distance": 60_000}
    for side in _SIDES:
        data |= {f"{side}_enable": True, f"{side}_work": True}
    # DJI's table calls it around_distances, its examples do not. 60000 mm: nothing in the way.
    return data | {"around_distance": [60_000] * 360}


def _state() -> dict[str, int]:
    return {
        # Booleans on paper, numbers in the examples.
        "stealth_state": 0,
        "night_lights_state": 0,
        "mode_code": 17,
        "landing_type": 0,
        "landing_protection_type": 0,
    }
