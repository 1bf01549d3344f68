"""The dock at work: answers commands, runs their jobs, reports until it is heard."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from dockgate_server.simulate import drc, jobs, properties, pushes, replies
from dockgate_server.simulate.behaviour import Conduct, Offline
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.inbox import Asked
from dockgate_server.simulate.link import Happened, Link


class Worker:
    """Does what commands ask for. Each command and each job is a task of its own."""

    def __init__(
        self,
        config: DockConfig,
        *,
        link: Link,
        happened: Happened,
        now_ms: Callable[[], int],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Take what is needed to answer; `tasks` runs and supervises what is started here."""
        self._config = config
        self._link = link
        self._happened = happened
        self._now_ms = now_ms
        self._tasks = tasks
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._unanswered: dict[str, asyncio.Event] = {}

    @property
    def unanswered(self) -> frozenset[str]:
        """The tids of the events that wait for the cloud's answer."""
        return frozenset(self._unanswered)

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

    def hear(self, tid: str) -> bool:
        """Take the cloud's answer to an event; False if none with this tid waits for one."""
        waiting = self._unanswered.get(tid)
        if waiting is None:
            return False
        waiting.set()
        return True

    async def push(self) -> None:
        """Push what a dock under direct control tells unasked, if this one is to; never ends."""
        if self._config.drc_push:
            for number in itertools.count():
                payload = orjson.dumps(pushes.push(number, now_ms=self._now_ms()))
                await self._link.say(self._topic("drc/up"), payload)
                await asyncio.sleep(1 / self._config.drc_push)

    async def _obey(self, command: Asked, conduct: Conduct, *, is_new: bool) -> None:
        if isinstance(conduct.form, Offline):
            await self._link.be_away(conduct.form.seconds)
            return
        await asyncio.sleep(self._config.answer_after if conduct.delay is None else conduct.delay)
        end, payloads = self._answer(command, conduct)
        for payload in payloads:
            await self._link.publish(self._topic(end), payload)
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
        if replies.starts_job(command.method, conduct):
            self._start_job(jobs.job_of(command, conduct.failure))

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

    def _start_job(self, job: jobs.Job | None) -> None:
        if job is None:
            return
        earlier = self._jobs.pop(job.key, None)
        if earlier is not None:
            earlier.cancel()
        task = self._tasks.create_task(self._work(job), name=f"{self._config.gateway} {job.key}")
        self._jobs[job.key] = task
        task.add_done_callback(lambda done: self._forget_job(job.key, done))

    def _forget_job(self, key: str, task: asyncio.Task[None]) -> None:
        if self._jobs.get(key) is task:
            del self._jobs[key]

    async def _work(self, job: jobs.Job) -> None:
        for report in job.reports:
            await asyncio.sleep(self._config.step_every)
            await self._report(report)

    async def _report(self, report: jobs.Report) -> None:
        tid = str(uuid.uuid4())
        message: dict[str, Any] = {
            "tid": tid,
            "bid": report.bid or str(uuid.uuid4()),
            "timestamp": self._now_ms(),
            "gateway": self._config.gateway,
            "method": report.event,
            "data": report.data,
        }
        if report.need_reply is not None:
            message["need_reply"] = report.need_reply
        payload = orjson.dumps(message)
        if report.need_reply == 1:
            # Before it leaves: the answer may be here before the broker's acknowledgement.
            answered = self._unanswered[tid] = asyncio.Event()
            self._tasks.create_task(
                self._insist(tid, report, payload, answered),
                name=f"{self._config.gateway} event {tid}",
            )
        await self._link.publish(self._topic("events"), payload)
        self._happened(
            "reported",
            f"{report.event} {report.percent} % {report.state} bid {message['bid']}",
            tid=tid,
            bid=message["bid"],
            method=report.event,
            percent=report.percent,
            state=report.state,
            payload=payload.decode(),
        )

    async def _insist(
        self, tid: str, report: jobs.Report, payload: bytes, answered: asyncio.Event
    ) -> None:
        """Send an event again, as it was, until the cloud answers or the dock gives up."""
        pauses = self._config.event_repeats
        try:
            for pause in pauses:
                if await _is_set_within(answered, pause):
                    return
                await self._link.publish(self._topic("events"), payload)
                self._happened("unanswered", f"{report.event} tid {tid}, sent again", tid=tid)
            # An answer to the last repetition is still an answer.
            if not await _is_set_within(answered, pauses[-1] if pauses else 0.0):
                self._happened("given-up", f"{report.event} tid {tid} stays unanswered", tid=tid)
        finally:
            del self._unanswered[tid]

    def _topic(self, end: str) -> str:
        return f"thing/product/{self._config.gateway}/{end}"


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
