"""The dock at work: answers commands, and does what they ask for."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from dockgate_server.simulate import drc, jobs, properties, replies
from dockgate_server.simulate.behaviour import Conduct, Offline
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.inbox import Asked
from dockgate_server.simulate.link import Happened, Link
from dockgate_server.simulate.runs import Runs


class Worker:
    """Does what commands ask for. Each command is a task of its own."""

    def __init__(
        self,
        config: DockConfig,
        *,
        link: Link,
        runs: Runs,
        happened: Happened,
        now_ms: Callable[[], int],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Take what is needed to answer; `tasks` runs and supervises what is started here."""
        self._config = config
        self._link = link
        self._runs = runs
        self._happened = happened
        self._now_ms = now_ms
        self._tasks = tasks

    def obey(self, command: Asked, conduct: Conduct, *, is_new: bool) -> None:
        """Begin to answer a command; a slow answer does not hold up the others.

        Args:
            command: what is to be done.
            conduct: how it is answered.
            is_new: False for a key that came before: it is answered again, not done again.
        """
        self._tasks.create_task(
            self._obey(command, conduct, is_new=is_new),
            name=f"{self._config.gateway} {command.method}",
        )

    async def _obey(self, command: Asked, conduct: Conduct, *, is_new: bool) -> None:
        if isinstance(conduct.form, Offline):
            await self._link.be_away(conduct.form.seconds)
            return
        await asyncio.sleep(self._config.answer_after if conduct.delay is None else conduct.delay)
        end, payloads = self._answer(command, conduct)
        for payload in payloads:
            await self._link.publish(f"thing/product/{self._config.gateway}/{end}", payload)
            text = payload.decode()
            self._happened(
                "replied",
                f"{command.method} {text}",
                **command.ids,
                method=command.method,
                payload=text,
            )
        if not is_new or not isinstance(command, replies.Command):
            return
        if replies.is_accepted(command.method, conduct):
            self._runs.control(command)
            job = jobs.job_of(command, conduct.ending)
            if job is not None:
                self._runs.start(job)

    def _answer(self, command: Asked, conduct: Conduct) -> tuple[str, tuple[bytes, ...]]:
        """Return the end of the topic for the answer, and what goes out there."""
        now_ms, stray_tid = self._now_ms(), str(uuid.uuid4())
        match command:
            case drc.DrcCommand():
                return "drc/up", drc.reply_payloads(command, conduct, now_ms=now_ms)
            case properties.Setting():
                return "property/set_reply", properties.reply_payloads(
                    command, conduct, now_ms=now_ms, stray_tid=stray_tid
                )
            case replies.Command():
                return "services_reply", replies.reply_payloads(
                    command, conduct, now_ms=now_ms, stray_tid=stray_tid
                )
