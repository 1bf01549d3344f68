"""What a dock and its drone tell of themselves, on osd and state, as data. Pure.

DJI: dock-to-cloud/mqtt/dock/dock3/properties and aircraft/m4d-properties, and recorded messages of
a Dock 3: it tells its osd in several parts, and no message has a method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LATITUDE, _LONGITUDE, _HEIGHT = 30.50010518754621, 114.57917509022379, 29.389690399169922
# Metres above the dock, and seconds that the battery lasts at 100 percent.
_ALTITUDE, _ENDURANCE = 62.3, 2400
_FULL = 94


@dataclass(frozen=True, slots=True)
class Message:
    """One message on osd or state.

    Attributes:
        sn: whose it is; it stands in the topic.
        data: what is told.
        need_reply: as on events; osd has none.
    """

    sn: str
    data: dict[str, Any]
    need_reply: int | None = None


def osd(number: int, *, dock: str, drone: str, airborne: bool) -> Message:
    """Return the osd message that comes at this place in the row, counted from 0.

    The first part of the dock's, the drone's, the second part of the dock's and the drone's again
    take turns.
    """
    if number % 2:
        return Message(drone, _drone(number, dock, airborne))
    return Message(dock, _dock_part_two() if number % 4 else _dock_part_one(drone, airborne))


def states(*, dock: str, drone: str) -> tuple[Message, ...]:
    """Return what both tell when they come online: what changes seldom, each in its own message."""
    camera = {
        "camera_index": "165-0-7",
        "available_video_number": 1,
        "coexist_video_number_max": 1,
        "video_list": [
            {
                "video_index": "normal-0",
                "video_type": "normal",
                "switchable_video_types": ["normal"],
            }
        ],
    }
    device = {"available_video_number": 1, "coexist_video_number_max": 1, "camera_list": [camera]}
    drone_camera = {**device, "camera_list": [{**camera, "camera_index": "99-0-0"}]}
    capacity = {
        "available_video_number": 2,
        "coexist_video_number_max": 2,
        "device_list": [{"sn": dock, **device}, {"sn": drone, **drone_camera}],
    }
    return (
        Message(dock, {"firmware_version": "16.01.0118"}),
        Message(dock, {"live_capacity": capacity}),
        Message(drone, {"firmware_version": "16.01.0118"}),
        Message(drone, {"payloads": [{"control_source": "A", "payload_index": "99-0-0"}]}, 1),
        Message(drone, {"mode_code_reason": 0}, 1),
        Message(drone, {"rth_mode": 1}, 1),
        Message(drone, {"offline_map_enable": True}, 1),
    )


def _dock_part_one(drone: str, airborne: bool) -> dict[str, Any]:
    return {
        "network_state": {"type": 2, "quality": 5, "rate": 258},
        "drone_charge_state": {"state": 0, "capacity_percent": _FULL},
        "drone_in_dock": int(not airborne),
        "rainfall": 0,
        "wind_speed": 0,
        "environment_temperature": 33.2,
        "temperature": 33.1,
        "humidity": 69,
        "heading": 88.46722412109375,
        "home_position_is_valid": 1,
        "latitude": _LATITUDE,
        "longitude": _LONGITUDE,
        "height": _HEIGHT,
        "alternate_land_point": {
            "latitude": 30.50008052614699,
            "longitude": 114.57912327668167,
            "height": 0,
            "safe_land_height": 30,
            "is_configured": 1,
        },
        "first_power_on": 1631945855969,
        "position_state": {
            "is_calibration": 1,
            "is_fixed": 2,
            "quality": 5,
            "gps_number": 5,
            "rtk_number": 32,
        },
        "storage": {"total": 53082240, "used": 68696},
        # 4: at work; 0: idle.
        "mode_code": 4 if airborne else 0,
        "cover_state": 0,
        "silent_mode": 0,
        "supplement_light_state": 0,
        "emergency_stop_state": 0,
        "air_conditioner": {"air_conditioner_state": 1, "switch_time": 0},
        "battery_store_mode": 2,
        "alarm_state": 0,
        "putter_state": 0,
        "sub_device": {"device_sn": drone, "device_online_status": 1, "device_paired": 1},
    }


def _dock_part_two() -> dict[str, Any]:
    maintained = {"state": 0, "last_maintain_time": 0, "last_maintain_work_sorties": 0}
    return {
        "job_number": 826,
        "acc_time": 22003521,
        "activation_time": 1758238088,
        "deployment_mode": 1,
        "relative_alternate_land_point": {
            "longitude": 0,
            "latitude": 0,
            "safe_land_height": 30,
            "status": 1,
        },
        "self_converge_coordinate": {
            "longitude": _LONGITUDE,
            "latitude": _LATITUDE,
            "height": 32.6517533569336,
        },
        "maintain_status": {
            "maintain_status_array": [
                {**maintained, "last_maintain_type": 17},
                {**maintained, "last_maintain_type": 18},
            ]
        },
        "electric_supply_voltage": 230,
        "working_voltage": 47376,
        "working_current": 3140,
        "acdc_power_input": 164.44444274902344,
        "poe_link_status": 0,
        "poe_power_output": 0,
        "backup_battery": {"voltage": 12509, "temperature": 34.7, "switch": 1},
        "gimbal_holder_state": 0,
        "drone_battery_maintenance_info": {
            "maintenance_state": 0,
            "maintenance_time_left": 0,
            "heat_state": 0,
            "batteries": [
                {"index": 0, "capacity_percent": _FULL, "voltage": 24553, "temperature": 30.2}
            ],
        },
        "temp_mode_state": False,
    }


def _drone(number: int, dock: str, airborne: bool) -> dict[str, Any]:
    # In the air the position and the battery move, so that two messages are never the same.
    moved = number % 1000 if airborne else 0
    percent = max(_FULL - moved // 20, 20)
    return {
        # 5: on a wayline; 0: standby.
        "mode_code": 5 if airborne else 0,
        "gear": 1,
        "latitude": _LATITUDE + moved * 1e-6,
        "longitude": _LONGITUDE,
        "height": _HEIGHT + (_ALTITUDE if airborne else 0),
        "elevation": _ALTITUDE if airborne else 0,
        "horizontal_speed": 5.2 if airborne else 0,
        "vertical_speed": 0,
        "attitude_head": 88.4,
        "attitude_pitch": 0.5,
        "attitude_roll": -0.3,
        "home_distance": moved * 0.11,
        "wind_speed": 21 if airborne else 0,
        "wind_direction": 3,
        "battery": {
            "capacity_percent": percent,
            "remain_flight_time": _ENDURANCE * percent // 100 if airborne else 0,
            "return_home_power": 18,
            "landing_power": 10,
            "batteries": [
                {
                    "capacity_percent": percent,
                    "index": 0,
                    "sn": "8FYPN1A0041001",
                    "type": 0,
                    "sub_type": 0,
                    "firmware_version": "22.01.13.07",
                    "loop_times": 41,
                    "voltage": 24553,
                    "temperature": 30.2,
                    "high_voltage_storage_days": 3,
                }
            ],
        },
        "position_state": {"is_fixed": 2, "quality": 5, "gps_number": 21, "rtk_number": 32},
        "storage": {"total": 30000000, "used": 112000},
        "obstacle_avoidance": {"horizon": 1, "upside": 1, "downside": 1},
        "height_limit": 120,
        "rth_altitude": 100,
        "night_lights_state": 0,
        "is_near_area_limit": 0,
        "is_near_height_limit": 0,
        "distance_limit_status": {
            "state": 0,
            "distance_limit": 8000,
            "is_near_distance_limit": 0,
        },
        "track_id": "",
        "total_flight_sorties": 214,
        "total_flight_time": 81234.5,
        "total_flight_distance": 402345.6,
        "activation_time": 1758238088,
        "99-0-0": {
            "payload_index": "99-0-0",
            "gimbal_pitch": -30.0,
            "gimbal_roll": 0,
            "gimbal_yaw": 88.4,
            "zoom_factor": 1.0,
            "thermal_current_palette_style": 0,
            "thermal_gain_mode": 0,
        },
        "cameras": [
            {
                "payload_index": "99-0-0",
                "camera_mode": 0,
                "photo_state": 0,
                "recording_state": 0,
                "record_time": 0,
                "remain_photo_num": 4200,
                "remain_record_duration": 9300,
                "zoom_factor": 2.0,
                "ir_zoom_factor": 2.0,
                "screen_split_enable": False,
            }
        ],
        "wireless_link_topo": {"center_node": {"sdr_id": 1, "sn": dock}, "leaf_nodes": []},
    }
