"""Reading a device's report on a job.

Sources: DJI's command pages (``output.status`` beside ``output.progress`` with percent and
step_key) and the wayline page, where flights number their steps (``current_step``) and the
numbers mean different things on different models of dock; so a step is kept as text.
"""

from collections.abc import Mapping

from dockgate_server.model.command import Job, JobState
from dockgate_server.model.reply import as_integer


def read_job(data: object, at: int) -> Job | None:
    """The job that an event's or a reply's ``data`` reports, or None when it reports none."""
    if not isinstance(data, Mapping):
        return None
    output = data.get("output")
    if not isinstance(output, Mapping):
        return None
    status = output.get("status")
    if not isinstance(status, str) or status.upper() not in JobState.__members__:
        return None
    progress = output.get("progress")
    if not isinstance(progress, Mapping):
        progress = {}
    step = progress.get("step_key", progress.get("current_step"))
    if isinstance(step, bool) or not isinstance(step, str | int):
        step = ""
    percent = as_integer(progress.get("percent"))
    return Job(
        state=JobState[status.upper()],
        updated_at=at,
        percent=None if percent is None else min(max(percent, 0), 100),
        step=str(step)[:100],
        result=as_integer(data.get("result")),
    )
