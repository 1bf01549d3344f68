"""The audit log as the gateway keeps it, beside what is recorded with each change.

Refusals, counted so that a flood of them cannot fill the disk; its own coming and going; the head
of the chain, for logs that are kept elsewhere.

What changes something is recorded with the change, in one transaction; see ``store/audit.py``.
"""

from collections.abc import Callable
from types import TracebackType

import structlog

from dockgate_server.audit.counting import Counting
from dockgate_server.clock import Clock, pause
from dockgate_server.codec.enums import snake_case
from dockgate_server.errors import DockgateError
from dockgate_server.model.audit import Action, Entry, Outcome
from dockgate_server.model.caller import Caller, Origin
from dockgate_server.store.audit import LONGEST_TEXT, AuditLog

_log = structlog.get_logger(__name__)

HEAD_SECONDS = 3600.0
"""How often the head is logged, beside at the start and at the stop."""

Refused = Callable[[Caller | None, str, Origin, str, DockgateError], None]
"""What :meth:`Audit.refused` is: hears of a call that was refused."""


def unheard(
    caller: Caller | None, claimed: str, origin: Origin, action: str, error: DockgateError
) -> None:
    """Keeps no record of refusals."""


class Audit:
    """Records what no change records. Entered for as long as the gateway serves.

    Args:
        log: The audit log.
        clock: The time.
    """

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._counting = Counting(log, clock)

    async def __aenter__(self) -> "Audit":
        """Record that the gateway has started.

        A database that somebody has made ready for changes of the log is mended, loudly: a gateway
        that does not start could stop no drone, and the chain shows what has been changed.

        Raises:
            DockgateError: UNAVAILABLE: the store takes nothing.
        """
        if found := await self._log.guard(self._own(Action.GUARDS_RESTORED)):
            _log.error(
                "audit_log_was_unguarded",
                found=", ".join(found),
                hint="somebody has worked on the database; run `dockgate audit verify` with a head "
                "from before",
            )
        if (taken_at := self._log.restored_from) is not None:
            await self._log.restored(self._own(Action.RESTORED, target=f"backup of {taken_at}"))
        await self._log.record(self._own(Action.STARTED))
        await self._say_head()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Record what was counted, and that the gateway stops."""
        await self._counting.close()
        try:
            await self._log.record(self._own(Action.STOPPED))
            await self._say_head()
        except DockgateError as error:
            _log.warning("stop_not_audited", error=error.message)

    def refused(
        self,
        caller: Caller | None,
        claimed: str,
        origin: Origin,
        action: str,
        error: DockgateError,
    ) -> None:
        """Record a refusal; nobody waits for it.

        Args:
            caller: Who asked; None when that was not proven.
            claimed: The API ID that the call claimed then.
            origin: Where it came from.
            action: The rpc, as ``SubmitCommand`` or ``submit_command``.
            error: Why it was refused.
        """
        about, subject = error.metadata, error.subject
        entry = Entry(
            self._clock.now_ms(),
            snake_case(action),
            Outcome.REFUSED.value,
            caller.tenant if caller else "",
            caller.principal if caller else claimed[:LONGEST_TEXT],
            caller is not None,
            origin.transport,
            origin.peer[:LONGEST_TEXT],
            origin.request_id[:LONGEST_TEXT],
            error.reason.value,
            (about.get("command_id") or about.get("device_request_id") or "")[:LONGEST_TEXT],
            (subject.device_id or about.get("device_id") or "")[:LONGEST_TEXT],
            (subject.method or about.get("command_type") or "")[:LONGEST_TEXT],
            subject.is_dangerous,
        )
        self._counting.count(entry)

    def replayed(self, entry: Entry) -> None:
        """Record that a submission was made again; nobody waits for it."""
        self._counting.count(entry)

    async def run(self) -> None:
        """Log the head once an hour, until cancelled."""
        while True:
            await pause(self._clock, HEAD_SECONDS)
            await self._say_head()

    def _own(self, action: Action, target: str = "") -> Entry:
        now = self._clock.now_ms()
        return Entry(now, action.value, Outcome.DONE.value, principal="dockgate", target=target)

    async def _say_head(self) -> None:
        """Somebody who changes the database cannot change the logs that have gone elsewhere."""
        try:
            _log.info("audit_head", head=str(await self._log.head()))
        except DockgateError as error:
            _log.warning("audit_head_unknown", error=error.message)
