"""The jobs of a dock as scripts: which events report a command's progress, with which data. Pure.

DJI's pages print one example of each event and no whole run, so the percentages are invented;
names, step keys, wrapping, need_reply and what ties an event to its command are DJI's, or those of
recorded flights where the two differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from dockgate_server.simulate import job_data
from dockgate_server.simulate.behaviour import JobFails
from dockgate_server.simulate.job_data import Moment, State, Step
from dockgate_server.simulate.replies import Command


@dataclass(frozen=True, slots=True)
class Report:
    """One event of a job, without what is known only when it is sent (tid, timestamp, gateway).

    Attributes:
        event: method of the event.
        bid: what the event carries as bid; None asks for a new one.
        data: the event's data.
        need_reply: 1 asks the cloud to answer, 0 does not, None leaves the member out.
        percent: 0..100, how far the job is.
        state: whether the job goes on after this report.
    """

    event: str
    bid: str | None
    data: dict[str, Any]
    need_reply: int | None
    percent: int
    state: State


@dataclass(frozen=True, slots=True)
class Job:
    """What follows a command. A second job with the same key takes the place of the first."""

    key: str
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """How one kind of job runs.

    Attributes:
        event: method of its events.
        steps: percent and step of each report before the last.
        data: makes the data of a report.
        running_reply: need_reply while the job runs.
        final_reply: need_reply of the last report.
        tie: what the events carry as bid (fly_to_id: a new bid each time, the id is in data).
        can_fail: False if DJI's event has no way to say that the job failed.
    """

    event: str
    steps: tuple[tuple[int, Step], ...]
    data: Callable[[Command, Moment], dict[str, Any]]
    running_reply: int | None = None
    final_reply: int | None = None
    tie: Literal["bid", "flight_id", "fly_to_id"] = "bid"
    can_fail: bool = True


def has_job(method: str, *, that_can_fail: bool = False) -> bool:
    """Tell whether events report the progress of this method (and could report a failure)."""
    script = _SCRIPTS.get(method)
    return script is not None and (script.can_fail or not that_can_fail)


def job_of(command: Command, failure: JobFails | None = None) -> Job | None:
    """Return the job that follows a command, None if its reply is all there is.

    Args:
        command: the command that the dock has accepted.
        failure: where and with which code the job fails; None lets it succeed.
    """
    script = _SCRIPTS.get(command.method)
    if script is None:
        return None
    key = (command.text(script.tie) if script.tie != "bid" else "") or command.bid
    bid = None if script.tie == "fly_to_id" else key
    reports = tuple(
        Report(
            event=script.event,
            bid=bid,
            data=script.data(command, moment),
            need_reply=script.running_reply if moment.state == "running" else script.final_reply,
            percent=moment.percent,
            state=moment.state,
        )
        for moment in _moments(script, failure)
    )
    if command.method == "flighttask_prepare":
        # DJI: dock-to-cloud/mqtt/dock/dock3/wayline, flighttask_ready: the task may start now.
        ready = {"flight_ids": [command.text("flight_id")]}
        reports = (Report("flighttask_ready", bid, ready, None, 0, "running"), *reports)
    return Job(f"{script.event} {key}", reports)


def _moments(script: Script, failure: JobFails | None) -> tuple[Moment, ...]:
    steps = script.steps or ((0, None),)
    if failure is None or not script.can_fail:
        running = [Moment(percent, step, "running", 0) for percent, step in script.steps]
        return (*running, Moment(100, steps[-1][1], "done", 0))
    until = [(percent, step) for percent, step in script.steps if percent < failure.percent]
    running = [Moment(percent, step, "running", 0) for percent, step in until]
    last = (until or steps)[-1 if until else 0][1]
    return (*running, Moment(failure.percent, last, "failed", failure.result))


def _even(*steps: Step) -> tuple[tuple[int, Step], ...]:
    """Spread steps evenly over the way to 100 percent."""
    return tuple((100 * at // (len(steps) + 1), step) for at, step in enumerate(steps, start=1))


_CHECKS = ("get_bid", "check_work_mode", "check_task_state")
_FLIGHT = Script(
    "flighttask_progress",
    ((5, 5), (10, 7), (20, 18), (30, 24), (50, 25), (70, 25), (90, 27), (95, 28)),
    job_data.flight,
    # Recorded flights: 0 on the way, 1 on the report that ends the task.
    running_reply=0,
    final_reply=1,
    tie="flight_id",
)
_FLY_TO = Script(
    "fly_to_point_progress",
    ((25, "wayline_progress"), (50, "wayline_progress"), (75, "wayline_progress")),
    job_data.to_point,
    running_reply=0,
    final_reply=1,
    tie="fly_to_id",
)


def _dock_script(event: str, *steps: str) -> Script:
    return Script(event, _even(*steps) if steps else _even(None, None, None), job_data.dock_job)


_SCRIPTS: dict[str, Script] = {
    "camera_photo_take": Script(
        "camera_photo_take_progress",
        _even(3002, 3005),
        job_data.photo,
        running_reply=1,
        final_reply=1,
    ),
    "charge_close": _dock_script("charge_close", *_CHECKS, "stop_charge"),
    "charge_open": _dock_script(
        "charge_open", *_CHECKS, "check_scram_state", "check_cover", "start_charge"
    ),
    "cloud_control_auth_request": Script(
        "cloud_control_auth_notify", (), job_data.authority, final_reply=0
    ),
    "cover_close": _dock_script(
        "cover_close",
        *_CHECKS,
        "check_scram_state",
        "turn_on_drone",
        "drone_paddle_forward",
        "close_cover",
        "drone_paddle_reverse",
        "drone_paddle_stop",
    ),
    "cover_force_close": _dock_script("cover_force_close"),
    "cover_open": _dock_script("cover_open", *_CHECKS, "check_scram_state", "open_cover"),
    "device_format": _dock_script("device_format"),
    "device_reboot": _dock_script(
        "device_reboot",
        *_CHECKS,
        "check_ac_input_state",
        "upgrading_prevent_reboot",
        "write_reboot_param_file",
    ),
    "drc_mode_enter": Script(
        "drc_status_notify", ((0, None),), job_data.drc_link, running_reply=1, final_reply=1
    ),
    "drone_close": _dock_script(
        "drone_close",
        *_CHECKS,
        "check_ac_input_state",
        "check_scram_state",
        "upgrading_prevent_reboot",
        "close_drone",
    ),
    "drone_format": _dock_script("drone_format"),
    "drone_open": Script("drone_open", _even(None), job_data.drone_open),
    "esim_activate": _dock_script("esim_activate"),
    "esim_operator_switch": _dock_script("esim_operator_switch"),
    "fileupload_start": Script(
        "fileupload_progress",
        _even(None, None, None),
        job_data.upload,
        running_reply=0,
        final_reply=0,
    ),
    "flight_areas_update": Script(
        "flight_areas_sync_progress",
        _even("wait_sync", "synchronizing"),
        job_data.flight_areas,
        running_reply=1,
        final_reply=1,
    ),
    "flighttask_create": _FLIGHT,
    "flighttask_execute": _FLIGHT,
    "flighttask_prepare": _FLIGHT,
    "fly_to_point": _FLY_TO,
    "fly_to_point_update": _FLY_TO,
    "in_flight_wayline_deliver": Script(
        "in_flight_wayline_progress", _even(1, 2, 3), job_data.in_flight_wayline
    ),
    "ota_create": _dock_script("ota_progress", "download_firmware", "upgrade_firmware"),
    "poi_mode_enter": Script(
        "poi_status_notify", _even(None), job_data.circling, running_reply=1, final_reply=1
    ),
    "putter_close": _dock_script("putter_close", *_CHECKS, "check_scram_state", "close_putter"),
    "putter_open": _dock_script("putter_open", *_CHECKS, "check_scram_state", "free_putter"),
    "return_home": Script("return_home_info", _even(None), job_data.about_flight, can_fail=False),
    "rtk_calibration": Script("rtk_calibration", _even(1, 2), job_data.calibration),
    "speaker_audio_play_start": Script(
        "speaker_audio_play_start_progress",
        _even("change_work_mode", "download", "encoding", "upload", "play"),
        job_data.speaker,
    ),
    "speaker_tts_play_start": Script(
        "speaker_tts_play_start_progress",
        _even("change_work_mode", "upload", "play"),
        job_data.speaker,
    ),
    "takeoff_to_point": Script(
        "takeoff_to_point_progress",
        (
            (10, "task_ready"),
            (40, "wayline_progress"),
            (70, "wayline_progress"),
            (90, "wayline_ok"),
        ),
        job_data.to_point,
        running_reply=0,
        final_reply=1,
    ),
    "upload_flighttask_media_prioritize": Script(
        "highest_priority_upload_flighttask_media",
        (),
        job_data.about_flight,
        final_reply=1,
        can_fail=False,
    ),
}
