"""Reading a device's report on a job.

Sources: DJI's command pages (``output.status`` beside ``output.progress`` with percent and
step_key), the wayline and DRC pages, where some reports are flat, use other words, or number
their steps (``current_step``, whose numbers mean different things on different docks; so a step
is kept as text).
"""

from collections.abc import Mapping

from dockgate_server.model.command import Job, JobState
from dockgate_server.model.reply import as_integer

_STATES = {state.lower(): state for state in JobState} | {
    # What single methods say instead.
    "fail": JobState.FAILED,
    "success": JobState.OK,
    "task_ready": JobState.SENT,
    "task_finish": JobState.OK,
    "wayline_progress": JobState.IN_PROGRESS,
    "wayline_ok": JobState.OK,
    "wayline_failed": JobState.FAILED,
    "wayline_cancel": JobState.CANCELED,
    "wait_sync": JobState.SENT,
    "synchronizing": JobState.IN_PROGRESS,
    "synchronized": JobState.OK,
    "switch_fail": JobState.FAILED,
}


_NUMBERED = {
    # in_flight_wayline_progress counts its states instead of naming them.
    1: JobState.SENT,
    2: JobState.SENT,
    3: JobState.IN_PROGRESS,
    4: JobState.PAUSED,
    5: JobState.CANCELED,
    6: JobState.OK,
    7: JobState.FAILED,
    8: JobState.TIMEOUT,
}


def read_job(data: object, at: int) -> Job | None:
    """The job that an event's or a reply's ``data`` reports, or None when it reports none."""
    if not isinstance(data, Mapping):
        return None
    output = data.get("output")
    report = output if isinstance(output, Mapping) else data
    status = report.get("status")
    if "in_flight_wayline_id" in report:
        state = _NUMBERED.get(as_integer(status) or 0)
    else:
        state = _STATES.get(status.lower()) if isinstance(status, str) else None
    if state is None:
        return None
    progress = report.get("progress")
    if not isinstance(progress, Mapping):
        progress = {}
    step = progress.get("step_key", progress.get("current_step"))
    percent = as_integer(progress.get("percent"))
    return Job(
        state=state,
        updated_at=at,
        percent=None if percent is None else min(max(percent, 0), 100),
        step=_step(step),
        result=as_integer(data.get("result")),
        break_reason=_break_reason(report),
    )


def _break_reason(report: Mapping[object, object]) -> int | None:
    """Why a flight was broken off: a member of the break point, which real flights always have."""
    value: object = report
    for member in ("ext", "break_point", "break_reason"):
        value = value.get(member) if isinstance(value, Mapping) else None
    reason = as_integer(value)
    return reason if reason and -(2**31) <= reason < 2**31 else None


def _step(value: object) -> str:
    is_step = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value)[:100] if is_step else ""
