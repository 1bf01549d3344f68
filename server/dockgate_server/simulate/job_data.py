"""The data of each kind of progress event, in the form in which real devices send it."""

from __future__ import annotations

from typing import Any

from dockgate_server.simulate.replies import Command
from dockgate_server.simulate.reports import Moment, word


def dock_job(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/cmd (and firmware, esim): result beside output."""
    progress: dict[str, Any] = {"percent": moment.percent}
    if moment.step is not None:
        progress["step_key"] = moment.step
    return {"result": moment.result, "output": {"status": word(moment), "progress": progress}}


def drone_open(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/cmd: the only job of that page without progress."""
    return {"result": moment.result, "output": {"status": word(moment)}}


def upload(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/log: no data.result, each file with its own progress."""
    params = command.member("params")
    wanted = params.get("files") if isinstance(params, dict) else None
    files = []
    for file in wanted if isinstance(wanted, list) else ():
        asked = file if isinstance(file, dict) else {}
        files.append(
            {
                "module": asked.get("module", ""),
                "size": 1024,
                "device_sn": "",
                "key": asked.get("object_key", ""),
                "fingerprint": "",
                "progress": {
                    "current_step": 1,
                    "total_step": 1,
                    "progress": moment.percent,
                    "finish_time": 0,
                    "upload_rate": 0,
                    "result": moment.result,
                    "status": word(moment),
                },
            }
        )
    return {"output": {"ext": {"files": files}, "status": word(moment)}}


def photo(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/remote-control: a panorama; it says fail, not failed."""
    step = moment.step if moment.state == "running" else 3000
    return {
        "result": moment.result,
        "output": {
            "ext": {"camera_mode": 3},
            "progress": {"current_step": step, "percent": moment.percent},
            "status": word(moment, failed="fail"),
        },
    }


def speaker(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/psdk: told apart by psdk_index and md5."""
    source = command.member("tts") or command.member("file")
    data = dock_job(command, moment)
    data["output"]["psdk_index"] = command.member("psdk_index", 0)
    data["output"]["md5"] = source.get("md5", "") if isinstance(source, dict) else ""
    return data


def to_point(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/drc, fly_to_point and takeoff_to_point: flat."""
    data: dict[str, Any] = {
        "result": moment.result,
        "way_point_index": 1,
        "remaining_distance": 100.0 - moment.percent,
        "remaining_time": (100.0 - moment.percent) / 10,
    }
    if command.method == "takeoff_to_point":
        done = "task_finish"
        data |= {"flight_id": command.text("flight_id"), "track_id": ""}
    else:
        done = "wayline_ok"
        data["fly_to_id"] = command.text("fly_to_id")
    ends = {"done": done, "failed": "wayline_failed", "canceled": "wayline_cancel"}
    return data | {"status": ends.get(moment.state, moment.step)}


def authority(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: rc-plus-2 drc, cloud_control_auth_notify: the pilot agreed or not."""
    return {"result": moment.result, "output": {"status": word(moment)}}


def drc_link(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/drc: 0 not connected, 1 connecting, 2 connected."""
    state = {"running": 1, "done": 2, "failed": 0}[moment.state]
    return {"result": moment.result, "drc_state": state}


def flight_areas(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock2/custom-flight-area: a reason instead of a result."""
    status = {"running": moment.step, "done": "synchronized", "failed": "fail"}[moment.state]
    file = {"name": "", "checksum": ""}
    return {"status": status, "reason": moment.result, "file": file}


def in_flight_wayline(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock3/wayline: the status is a number."""
    ends = {"canceled": 5, "done": 6, "failed": 7, "timeout": 8}
    return {
        "in_flight_wayline_id": command.text("in_flight_wayline_id"),
        "progress": {"percent": moment.percent},
        "status": ends.get(moment.state, moment.step),
        "result": moment.result,
        "way_point_index": 0,
    }


def circling(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock1/drc, poi_status_notify: a reason instead of a result."""
    return {
        "status": word(moment),
        "reason": moment.result,
        "circle_radius": 20.0,
        "circle_speed": 3.0,
        "max_circle_speed": 10.0,
    }


def calibration(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock3/cmd, rtk_calibration: each device has its own result."""
    wanted = command.member("devices")
    devices = [
        {
            "sn": device.get("sn", ""),
            "type": device.get("type", 1),
            "module": device.get("module", "3"),
            "result": moment.result,
            "status": word(moment),
        }
        for device in (wanted if isinstance(wanted, list) else ())
        if isinstance(device, dict)
    ]
    return {
        "result": moment.result,
        "output": {
            "ext": {"devices": devices, "version": 1},
            "progress": {"percent": moment.percent, "current_step": moment.step},
            "status": word(moment),
        },
    }


def about_flight(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: wayline return_home_info, media-management highest_priority_upload_flighttask_media."""
    return {"flight_id": command.text("flight_id")}


def readiness(command: Command, moment: Moment) -> dict[str, Any]:
    """DJI: dock-to-cloud/mqtt/dock/dock3/wayline, flighttask_ready: which flights may start."""
    return {"flight_ids": [command.text("flight_id")]}
