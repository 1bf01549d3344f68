"""A flight as a Dock 3 reports it by flighttask_progress, and what stops it on the way. Pure.

DJI: dock-to-cloud/mqtt/dock/dock3/wayline, and two recorded flights of a Dock 3. Where these differ
the recordings hold: the data is wrapped in output; a drone in the air is at step 27 (25 on paper)
and 90 percent from its take-off to its landing; the last report comes from step 36 (35 on paper).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from dockgate_server.simulate.replies import Command
from dockgate_server.simulate.reports import ENDS, Moment, Report, State, word


@dataclass(frozen=True, slots=True)
class _Leg:
    """A part of the way: what is reported when it begins."""

    percent: int
    step: int
    mission_state: int
    waypoint: int = 0


# wayline_mission_state: 2 ready, 3 the wayline is uploaded, 4 preparing, 5 on the way to its first
# point, 6 on it, 9 stopped.
_READY, _HEADING, _STOPPED = 2, 5, 9
_LEGS = (
    _Leg(0, 0, _READY),
    _Leg(5, 5, _READY),
    _Leg(10, 7, _READY),
    _Leg(20, 16, _READY),
    _Leg(35, 18, 3),
    _Leg(60, 20, _READY),
    _Leg(80, 24, 4),
    _Leg(90, 27, _HEADING),
    _Leg(90, 27, 6, waypoint=1),
    _Leg(90, 27, 6, waypoint=2),
    _Leg(90, 27, 6, waypoint=3),
    _Leg(95, 28, _READY, waypoint=3),
)
_ENDING_STEP = 36
_AIRBORNE = 90

STEPS = tuple((leg.percent, leg.step) for leg in _LEGS)
"""Percent and step of each report before the last."""

ASKS_AT = 3
"""The place in them that comes after the dock's requests: it fetches the file of the wayline."""

USER_EXIT, RETURN_HOME = 1281, 1283
"""Reasons of a break (`break_reason`): someone paused the flight, or called the drone home."""
CALLED_HOME = 322283
"""The result of a flight that ended because someone called the drone home."""
# Low battery, obstacle; the rest is unknown.
_REASONS: dict[State, int] = {"partially_done": 773, "failed": 517, "canceled": USER_EXIT}
_UNKNOWN = 65534

_PLACE = {"latitude": 29.92431, "longitude": 121.664744, "height": 91.658}
_HOME = {"latitude": 29.923596, "longitude": 121.663475, "height": 60.604}


def data(command: Command, moment: Moment) -> dict[str, Any]:
    """Return the data of a report."""
    leg = _LEGS[moment.place]
    ended = moment.state in ENDS
    flight_id = command.text("flight_id")
    airborne = leg.percent == _AIRBORNE
    ext: dict[str, Any] = {"current_waypoint_index": leg.waypoint, "flight_id": flight_id}
    if ended or not airborne:
        ext |= {"media_count": 0, "track_id": ""}
    else:
        # The same in all reports of one flight.
        ext["track_id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, flight_id))
    ext["wayline_id"] = 0 if leg.percent >= _AIRBORNE else 65535
    ext["wayline_mission_state"] = _READY if ended else leg.mission_state
    if not ended and leg.mission_state == _HEADING:
        ext["transition_wayline_info"] = _transition()
    if ended and airborne:
        ext["break_point"] = _break_point(leg.waypoint, _REASONS.get(moment.state, _UNKNOWN))
    step = _ENDING_STEP if ended else moment.step
    return {
        "result": moment.result,
        "output": {
            "ext": ext,
            "progress": {"current_step": step, "percent": moment.percent},
            "status": word(moment),
        },
    }


def is_airborne(report: Report) -> bool:
    """Tell whether the drone is in the air at this point of its flight."""
    return report.state not in ENDS and report.percent == _AIRBORNE


def paused(last: Report, reason: int = USER_EXIT) -> tuple[Report, ...]:
    """Return what a flight reports when it is stopped on the way, after its last report."""
    if not is_airborne(last):
        return (_changed(last, "paused", _READY),)
    waypoint = last.data["output"]["ext"]["current_waypoint_index"]
    return (
        _changed(last, "running", _STOPPED),
        _changed(last, "paused", _READY, break_point=_break_point(waypoint, reason)),
    )


def resumed(last: Report) -> tuple[Report, ...]:
    """Return what a paused flight reports when it goes on."""
    if not is_airborne(last):
        return (_changed(last, "running", _READY),)
    return (_changed(last, "running", _HEADING, transition_wayline_info=_transition()),)


def canceled(last: Report, *, result: int = 0) -> Report:
    """Return the last report of a flight that was given up.

    A break point of its last report stays, so that the flight can be taken up there later.
    """
    broken = last.data["output"]["ext"].get("break_point")
    if broken is None and is_airborne(last):
        waypoint = last.data["output"]["ext"]["current_waypoint_index"]
        broken = _break_point(waypoint, USER_EXIT)
    parts = {"media_count": 0, "track_id": ""}
    end = _changed(last, "canceled", _READY, **parts, **({"break_point": broken} if broken else {}))
    percent = 95 if is_airborne(last) else last.percent
    end.data["output"]["progress"] = {"current_step": _ENDING_STEP, "percent": percent}
    end.data["result"] = result
    return replace(end, percent=percent)


def _changed(last: Report, state: State, mission_state: int, **parts: Any) -> Report:
    """Return a report like the last one, in another state and without what is no longer so."""
    output = last.data["output"]
    ext = {
        name: value
        for name, value in output["ext"].items()
        if name not in ("break_point", "transition_wayline_info")
    }
    ext |= {"wayline_mission_state": mission_state, **parts}
    moment = Moment(last.percent, None, state, 0)
    return replace(
        last,
        data={
            "result": 0,
            "output": {"ext": ext, "progress": output["progress"], "status": word(moment)},
        },
        need_reply=0 if state == "running" else 1,
        state=state,
        after_requests=False,
    )


def _break_point(waypoint: int, reason: int) -> dict[str, Any]:
    return {
        "index": max(waypoint - 1, 0),
        "state": 0,
        "progress": 0.6028558015823364,
        "wayline_id": 0,
        "break_reason": reason,
        "attitude_head": 0,
        **_PLACE,
    }


def _transition() -> dict[str, Any]:
    return {"last_point_type": 0, "planned_path_points": [_HOME, _PLACE]}
