"""Who answers which request of a device without a person: from settings, or what is known."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from dockgate_server.errors import DockgateError
from dockgate_server.model.device_request import Asked
from dockgate_server.model.reply import as_integer

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device is answered."""

    data: Mapping[str, Any]
    """The whole `data` of the answer."""
    by: str
    """The name of the provider."""
    message: str = ""
    """A word to go with it, for whoever looks at the request later."""

    @property
    def code(self) -> int | None:
        """The result; None where the answer has none."""
        return as_integer(self.data.get("result"))


Provider = Callable[[Asked], Awaitable[Answer | None]]
"""Answers a request, or gives None where it cannot and a person must."""


class Providers:
    """All providers that are configured.

    Args:
        by_method: The provider of each method.
    """

    def __init__(self, by_method: Mapping[str, Provider]) -> None:
        self._by_method = by_method

    async def answer(self, asked: Asked) -> Answer | None:
        """The answer to a request; None when a person must give it.

        Raises:
            DockgateError: UNAVAILABLE; trying again is right.
        """
        provider = self._by_method.get(asked.method)
        if provider is None:
            return None
        try:
            return await provider(asked)
        except DockgateError:
            raise
        except Exception as error:
            # A bug of ours. A person can still answer.
            _log.error("provider_failed", method=asked.method, exc_info=error)
            return None


def refused(code: int, message: str, by: str, **output: Any) -> Answer:
    """A no, in words where the device shows them."""
    data = {"result": code, "message": message, **({"output": output} if output else {})}
    return Answer(data, by, message)


def accepted(by: str, output: Mapping[str, Any]) -> Answer:
    """A yes, with what was asked for."""
    return Answer({"result": 0, "output": output}, by)


def members(data: object) -> Mapping[Any, Any]:
    """The members of what a device sent; none where it sent no object."""
    return data if isinstance(data, Mapping) else {}


def text(value: object) -> str:
    """A text that a device sent; "" for anything else."""
    return value if isinstance(value, str) else ""
