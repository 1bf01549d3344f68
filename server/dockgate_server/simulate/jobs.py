"""The jobs of a dock as scripts: which events report a command's progress, with which data. Pure.

DJI's pages print one example of each event and no whole run, so the percentages are invented;
names, step keys, wrapping, need_reply and what ties an event to its command are DJI's, or those of
recorded flights where the two differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dockgate_server.simulate import flights, job_data
from dockgate_server.simulate.behaviour import Ending, JobEnds, JobFails, JobSilent
from dockgate_server.simulate.replies import Command
from dockgate_server.simulate.reports import Data, Job, Moment, Report, State, Step

_FAILS = frozenset[State](("failed",))
_NEVER_FAILS = frozenset[State]()
_DOCK_ENDS = frozenset[State](("failed", "canceled", "rejected", "timeout"))


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
        ends: the ways in which DJI's event can say that the job did not succeed.
        is_flight: it is sent before it begins, and on the way the dock asks the cloud for things.
    """

    event: str
    steps: tuple[tuple[int, Step], ...]
    data: Data
    running_reply: int | None = None
    final_reply: int | None = None
    tie: Literal["bid", "flight_id", "fly_to_id"] = "bid"
    ends: frozenset[State] = _FAILS
    is_flight: bool = False


def has_job(method: str) -> bool:
    """Tell whether events report the progress of this method."""
    return method in _SCRIPTS


def can_end(method: str, state: State) -> bool:
    """Tell whether the events of this method can say that its job ended so."""
    return method in _SCRIPTS and state in _SCRIPTS[method].ends


def job_of(command: Command, ending: Ending | None = None) -> Job | None:
    """Return the job that follows a command, None if its reply is all there is.

    Args:
        command: the command that the dock has accepted.
        ending: where the job ends before its time, and how; None lets it succeed.
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
            need_reply=script.running_reply
            if moment.state in ("sent", "running")
            else script.final_reply,
            percent=moment.percent,
            state=moment.state,
            after_requests=script.is_flight
            and moment.place == flights.ASKS_AT
            and moment.state == "running",
        )
        for moment in _moments(script, ending)
    )
    return Job(f"{script.event} {key}", reports, flight_id=key if script.is_flight else None)


def _moments(script: Script, ending: Ending | None) -> tuple[Moment, ...]:
    steps = script.steps or ((0, None),)
    way = [
        Moment(percent, step, "sent" if script.is_flight and not place else "running", 0, place)
        for place, (percent, step) in enumerate(script.steps)
    ]
    match ending:
        case JobSilent(percent=percent):
            return tuple(moment for moment in way if moment.percent <= percent)
        case JobFails(result=result, percent=percent) if "failed" in script.ends:
            end: tuple[State, int, int] = ("failed", percent, result)
        case JobEnds(status=status, percent=percent, result=result) if status in script.ends:
            end = (status, percent, result)
        case _:
            return (*way, Moment(100, steps[-1][1], "done", 0, len(steps) - 1))
    state, percent, result = end
    until = [moment for moment in way if moment.percent < percent]
    place = max(len(until) - 1, 0)
    return (*until, Moment(percent, steps[place][1], state, result, place))


def _even(*steps: Step) -> tuple[tuple[int, Step], ...]:
    """Spread steps evenly over the way to 100 percent."""
    return tuple((100 * at // (len(steps) + 1), step) for at, step in enumerate(steps, start=1))


_CHECKS = ("get_bid", "check_work_mode", "check_task_state")
_READY = Script(
    # DJI: dock-to-cloud/mqtt/dock/dock3/wayline: the task may start now. It starts when it is told
    # to, so that this is all that follows flighttask_prepare.
    "flighttask_ready",
    (),
    job_data.readiness,
    tie="flight_id",
    ends=_NEVER_FAILS,
)
_FLIGHT = Script(
    "flighttask_progress",
    flights.STEPS,
    flights.data,
    # Recorded flights: 0 on the way, 1 on the report that ends the task.
    running_reply=0,
    final_reply=1,
    tie="flight_id",
    ends=_DOCK_ENDS | {"partially_done"},
    is_flight=True,
)
_FLY_TO = Script(
    "fly_to_point_progress",
    ((25, "wayline_progress"), (50, "wayline_progress"), (75, "wayline_progress")),
    job_data.to_point,
    running_reply=0,
    final_reply=1,
    tie="fly_to_id",
    ends=_FAILS | {"canceled"},
)


def _dock_script(event: str, *steps: str) -> Script:
    way = _even(*steps) if steps else _even(None, None, None)
    return Script(event, way, job_data.dock_job, ends=_DOCK_ENDS)


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
        "cloud_control_auth_notify",
        (),
        job_data.authority,
        final_reply=0,
        ends=_FAILS | {"canceled"},
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
    "drone_open": Script("drone_open", _even(None), job_data.drone_open, ends=_DOCK_ENDS),
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
    "flighttask_prepare": _READY,
    "fly_to_point": _FLY_TO,
    "fly_to_point_update": _FLY_TO,
    "in_flight_wayline_deliver": Script(
        "in_flight_wayline_progress",
        _even(1, 2, 3),
        job_data.in_flight_wayline,
        ends=_FAILS | {"canceled", "timeout"},
    ),
    "ota_create": _dock_script("ota_progress", "download_firmware", "upgrade_firmware"),
    "poi_mode_enter": Script(
        "poi_status_notify", _even(None), job_data.circling, running_reply=1, final_reply=1
    ),
    "putter_close": _dock_script("putter_close", *_CHECKS, "check_scram_state", "close_putter"),
    "putter_open": _dock_script("putter_open", *_CHECKS, "check_scram_state", "free_putter"),
    "return_home": Script(
        "return_home_info", _even(None), job_data.about_flight, ends=_NEVER_FAILS
    ),
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
        ends=_FAILS | {"canceled"},
    ),
    "upload_flighttask_media_prioritize": Script(
        "highest_priority_upload_flighttask_media",
        (),
        job_data.about_flight,
        final_reply=1,
        ends=_NEVER_FAILS,
    ),
}
