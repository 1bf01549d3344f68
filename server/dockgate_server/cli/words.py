"""Commands and events in words, for people."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from dockgate.downlink.v1 import command_pb2 as pb
from dockgate.downlink.v1 import error_reason_pb2
from dockgate_server.cli.render import dumps, plain
from dockgate_server.codec import enums, error_codes

_STATUS = pb.CommandStatus.DESCRIPTOR
_JOB_STATE = pb.JobState.DESCRIPTOR
_FAILURE = error_reason_pb2.FailureCode.DESCRIPTOR

_COLOURS = {
    pb.COMMAND_STATUS_SUCCEEDED: "green",
    pb.COMMAND_STATUS_FAILED: "red",
    pb.COMMAND_STATUS_TIMED_OUT: "red",
    pb.COMMAND_STATUS_UNMATCHED_RESPONSE: "red",
}
_JOB_ENDS = {
    pb.JOB_STATE_OK: "green",
    pb.JOB_STATE_FAILED: "red",
    pb.JOB_STATE_CANCELED: "red",
    pb.JOB_STATE_REJECTED: "red",
    pb.JOB_STATE_TIMEOUT: "red",
    pb.JOB_STATE_PARTIALLY_DONE: "yellow",
}
_JOB_COLOURS = {**_JOB_ENDS, pb.JOB_STATE_STALLED: "yellow"}


def status(command: pb.Command) -> str:
    """The status without its prefix."""
    return str(enums.name(_STATUS, command.status))


def colour(command: pb.Command) -> str:
    """Green for a good end, red for a bad one, cyan for what goes on."""
    own = _COLOURS.get(command.status, "cyan")
    if own == "green" and command.HasField("job"):
        return _JOB_COLOURS.get(command.job.state, "cyan")
    return own


def is_open(command: pb.Command) -> bool:
    """Whether the command has not ended."""
    return command.status in (pb.COMMAND_STATUS_ACCEPTED, pb.COMMAND_STATUS_DELIVERED)


def job_goes_on(command: pb.Command) -> bool:
    """Whether the device has reported a job and not yet its end."""
    return command.HasField("job") and command.job.state not in _JOB_ENDS


def succeeded(command: pb.Command, *, with_job: bool) -> bool:
    """Whether the command, and its job where that counts, came to a good end."""
    if command.status != pb.COMMAND_STATUS_SUCCEEDED:
        return False
    return not (with_job and command.HasField("job")) or command.job.state == pb.JOB_STATE_OK


def clock_time(at: Timestamp) -> str:
    """The time of day here, to the millisecond."""
    local = local_time(at)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def local_time(at: Timestamp) -> datetime:
    """The time in this machine's zone."""
    return datetime.fromtimestamp(at.seconds + at.nanos / 1e9).astimezone()


def day_and_time(at: Timestamp) -> str:
    """The time of day here, with the date in front when that is not today's."""
    local = local_time(at)
    is_today = datetime.now(local.tzinfo).date() == local.date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M:%S}"


def target(command: pb.Command) -> str:
    """``camera_recording_start for drone-001 through dock-001``."""
    through = f" through {command.gateway_id}" if command.gateway_id != command.device_id else ""
    return f"{command.command_type} for {command.device_id}{through}"


def event(of: pb.CommandEvent) -> str:
    """What happened, in one line."""
    text = one_line(_happened(of))
    note = one_line(of.note)
    return f"{text}; {note}" if note and text else text or note


def job(of: pb.Job) -> str:
    """The state of a job, e.g. ``job IN_PROGRESS 40 % check_cover``."""
    parts = ["job", str(enums.name(_JOB_STATE, of.state))]
    if of.HasField("percent"):
        parts.append(f"{of.percent} %")
    if of.step:
        # A number by itself, behind the percentage, would not look like a step.
        parts.append(one_line(f"step {of.step}" if of.step.isdecimal() else of.step))
    text = " ".join(parts)
    if of.step_message:
        text += f": {one_line(of.step_message)}"
    if of.result:
        # Without words of DJI's own the message says no more than the number.
        meaning = one_line(of.result_message.partition(": ")[2]) or error_codes.UNLISTED
        text += f"; result {of.result}: {meaning}"
    if of.break_reason:
        meaning = one_line(of.break_reason_message) or error_codes.UNLISTED
        text += f"; broken off, {of.break_reason}: {meaning}"
    return text


def failure(command: pb.Command) -> str:
    """Why a command failed, empty when it has not."""
    if not command.failure_code:
        return ""
    name = str(enums.name(_FAILURE, command.failure_code))
    reason = one_line(command.failure_reason)
    return f"{name}: {reason}" if reason else name


def one_line(text: str) -> str:
    """Text that a device wrote must not move the cursor or forge a line of ours."""
    return "".join(" " if not char.isprintable() else char for char in text)


def _happened(of: pb.CommandEvent) -> str:
    command = of.command
    match of.kind:
        case pb.COMMAND_EVENT_KIND_ACCEPTED:
            return f"{target(command)}, {command.timeout_seconds} s to answer"
        case pb.COMMAND_EVENT_KIND_SENDING:
            return "being handed to the broker"
        case pb.COMMAND_EVENT_KIND_DELIVERED:
            return "taken by the broker"
        case pb.COMMAND_EVENT_KIND_REPLIED if not of.HasField("reply"):
            return _answer(command)
        case pb.COMMAND_EVENT_KIND_REPLIED | pb.COMMAND_EVENT_KIND_UNMATCHED_REPLY:
            odd = of.kind == pb.COMMAND_EVENT_KIND_UNMATCHED_REPLY
            return f"{'a reply that cannot be its answer' if odd else 'a reply'}: " + dumps(
                plain(of.reply)
            )
        case (
            pb.COMMAND_EVENT_KIND_EXPIRED
            | pb.COMMAND_EVENT_KIND_REFUSED
            | pb.COMMAND_EVENT_KIND_CANCELLED
        ):
            return failure(command)
        case pb.COMMAND_EVENT_KIND_SENT:
            return "handed to the network; it has no answer"
        case pb.COMMAND_EVENT_KIND_NOT_SENT:
            return "reached nobody, waits again"
        case pb.COMMAND_EVENT_KIND_JOB_PROGRESSED:
            return job(command.job)
        case pb.COMMAND_EVENT_KIND_JOB_STALLED:
            return f"nothing more is heard of it: {job(command.job)}"
    return f"event {of.kind}"


def _answer(command: pb.Command) -> str:
    text = f"answered {command.response_code}"
    if command.response_message:
        text += f": {command.response_message}"
    if command.failure_code:
        text += f" ({failure(command)})"
    return text
