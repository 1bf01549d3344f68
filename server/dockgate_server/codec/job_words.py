"""What a job's numbers mean, in DJI's words."""

import functools
from collections.abc import Mapping
from importlib import resources

from dockgate_server.codec import error_codes
from dockgate_server.model.command import Job


def result(of: Job) -> str:
    """What the job's result means; "" while nothing is wrong."""
    return error_codes.sentence(of.result) if of.result else ""


def break_reason(of: Job) -> str:
    """Why the flight was broken off; "" when it was not, or for no reason that DJI lists.

    Source: DJI's wayline page, ``break_point.break_reason`` of flighttask_progress.
    """
    return "" if of.break_reason is None else _break_reasons().get(of.break_reason, "")


@functools.cache
def _break_reasons() -> Mapping[int, str]:
    table = resources.files(__package__).joinpath("break_reasons.tsv").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in table.splitlines())
    return {int(number): words for number, words in lines}
