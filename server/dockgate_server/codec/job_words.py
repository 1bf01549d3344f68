"""What a job's numbers mean, in DJI's words."""

import functools
from collections.abc import Mapping
from importlib import resources

from dockgate_server.codec import catalogue, error_codes
from dockgate_server.model.command import Job

_FIRST_DOCK = "3-1-"
"""What its models begin with."""


def result(of: Job) -> str:
    """What the job's result means; "" while nothing is wrong."""
    return error_codes.sentence(of.result) if of.result else ""


def break_reason(of: Job) -> str:
    """Why the flight was broken off; "" when it was not, or for no reason that DJI lists.

    Source: DJI's wayline page, ``break_point.break_reason`` of flighttask_progress.
    """
    return "" if of.break_reason is None else _break_reasons().get(of.break_reason, "")


def step(command_type: str, of: Job, model: str = "") -> str:
    """What the number of the job's step means, see :func:`step_of_event`."""
    method = catalogue.METHODS.get(command_type)
    links = method.progress if method is not None and of.step else ()
    return next(filter(None, (step_of_event(link.event, of.step, model) for link in links)), "")


def step_of_event(event: str, number: str, model: str = "") -> str:
    """What the number of a step means; "" for one that speaks for itself, or that nobody explains.

    Source: DJI's wayline and DRC pages, ``progress.current_step``. The first Dock numbers the
    steps of a flight otherwise than Dock 2 and 3 do.

    Args:
        event: The event that tells of the step.
        number: The step.
        model: That of the dock, as :class:`~dockgate_server.model.device.Device` has it; while
            it is not known both meanings are given.
    """
    words, on_first = _steps().get((event, number), ("", ""))
    if not on_first:
        return words
    if model:
        return on_first if model.startswith(_FIRST_DOCK) else words
    return f"{words} (Dock 2 and 3) or {on_first} (first Dock)"


@functools.cache
def _break_reasons() -> Mapping[int, str]:
    return {int(number): words for number, words in _table("break_reasons.tsv")}


@functools.cache
def _steps() -> Mapping[tuple[str, str], tuple[str, str]]:
    return {
        (event, number): (words, on_first) for event, number, words, on_first in _table("steps.tsv")
    }


def _table(name: str) -> list[list[str]]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()]
