"""What a worker has to know."""

from dataclasses import asdict, dataclass
from typing import Any

from dockgate_server.rpc.listening import Terms


@dataclass(frozen=True, slots=True)
class Method:
    """What is known of a method."""

    asks_once: bool
    """A call has one request."""
    answers_once: bool
    """A call has one answer, which comes with its end."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything by which a worker serves; it reads no configuration of its own."""

    terms: Terms
    request_seconds: float
    """How long a request may take to come."""
    log: tuple[str, str]
    """Level and form."""
    methods: dict[str, Method]
    """By path. Of other calls nothing is known."""
    shares: dict[str, int]
    """How many calls may be open of a service that is open to all, by its name."""

    @property
    def reads_first(self) -> bool:
        """Whether the one request of a call is read before the call is handed on.

        That saves asking for it. Over TLS it is not for the worker to read what somebody sends of
        whom nothing is known yet.
        """
        return self.terms.tls is None

    def plain(self) -> dict[str, Any]:
        """As values that a frame may carry."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Orders":
        """What :meth:`plain` made values of."""
        terms = Terms(**plain["terms"])
        methods = {path: Method(**one) for path, one in plain["methods"].items()}
        return cls(**plain | {"terms": terms, "methods": methods})
