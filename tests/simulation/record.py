"""What the database says: read at every commit, and held against what it may say."""

import math
import re
from typing import Any

import orjson

from dockgate_server.model.command import EventKind, JobState, Status
from dockgate_server.model.lifecycle import is_legal
from simulation.disk import Disk
from simulation.life import IDENTITY, Life, Said
from simulation.world import World

_EVENTS = """
SELECT e.seq, e.command_seq, e.revision, e.kind, e.state, e.reply, c.vendor_response, c.revision,
    c.status, c.sending_at, c.delivered_at, c.completed_at, c.completion_basis,
    c.response_received_at, c.failure_code, c.failure_reason
FROM command_event AS e JOIN command AS c ON c.seq = e.command_seq
WHERE e.seq > ? ORDER BY e.seq
"""
_LEDGER = "SELECT seq, data FROM unmatched_response WHERE seq > ? ORDER BY seq"
_COLUMNS = (
    *("status", "sending_at", "delivered_at", "completed_at", "completion_basis"),
    *("response_received_at", "failure_code", "failure_reason"),
)
"""The last columns of ``_EVENTS``, which the state kept with the last event must repeat."""
_FINAL = ("status", "completed_at", "completion_basis", "failure_code", "failure_reason")
_ONCE = ("delivered_at", "response_received_at", "response_code", "vendor_response")

REACHED_NOBODY = frozenset(
    {
        *("DEVICE_OFFLINE", "DELIVERY_TIMEOUT", "CANCELLED"),
        *("DELIVERY_REFUSED", "EXPIRY_UNSUPPORTED", "NOT_CONNECTED"),
    }
)
"""Failure codes that say: no device has carried this out, and none will."""
_NUMBER = re.compile(rb'"n":(\d+)')

NOTED_REPLIES = 6
"""How many replies to one command are noted here: fewer than in earnest, to get beyond it."""

JOB_SILENCE_SECONDS = 4.0
"""After how long of nothing a job counts as stalled here."""

SLACK = 0.3
"""Seconds by which an end may come after the deadline: a few commits."""


class Record:
    """Follows the database from commit to commit.

    Args:
        world: Time, and where violations are told.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.disk = Disk(world, self._committed)
        self.lives: dict[int, Life] = {}
        self.by_id: dict[str, Life] = {}
        self.by_key: dict[str, Life] = {}
        self.open: dict[int, Life] = {}
        self.said: list[Said] = []
        self.recorded: set[int] = set()
        """The numbers of what docks said that a commit holds."""
        self.newest_event = 0
        self.down: list[tuple[float, float]] = []
        """When no gateway was there to end anything."""
        self.down_since = 0.0
        self.started_at = 0.0
        """When the last process was started."""
        self._newest_unmatched = 0

    def say(
        self, life: Life | None, kind: str, result: int = 0, *, anonymous: bool = False
    ) -> Said:
        """Number something that a dock says."""
        said = Said(len(self.said), life, kind, result, anonymous)
        self.said.append(said)
        return said

    # A deadline is stored by the wall clock and runs on the monotonic one. A step of the wall
    # clock while one is worked out from the other makes both answers right.

    def starting(self) -> None:
        """A new process begins to work out the deadlines of what is open."""
        self.started_at = self._world.now
        for life in self.open.values():
            life.reckoned_since = self._world.now
            self._reckon(life, self._world.now)

    def started(self) -> None:
        """It has worked them out."""
        self.down.append((self.down_since, self._world.now + 0.1))
        self.down_since = math.inf
        for life in self.open.values():
            if life.reckoning_since is not None:
                self._reckon(life, life.reckoning_since)
            self._reckoned(life, life.reckoning_since)

    def clock_stepped(self, before: int) -> None:
        """The wall clock of the gateway's machine has been set; what it showed before."""
        for life in self.open.values():
            shown = max(before, self._world.wall_ms())
            life.was_late = life.was_late or life.deadline_at <= shown
            if life.reckoning_since is not None:
                self._reckon(life, life.reckoning_since)

    def _reckoned(self, life: Life, since: float | None) -> None:
        if life.reckoning_since == since:
            life.reckoning_since = None

    def _reckon(self, life: Life, since: float) -> None:
        life.reckoning_since = since
        earliest, latest = self._world.moments_of(life.deadline_at, since)
        # A clock that was set back gives nobody more than the whole of its time.
        whole = since + life.timeout, self._world.now + life.timeout
        life.due = min(earliest, whole[0]), min(latest, whole[1])

    def told(self, events: Any) -> None:
        """The gateway has been told of a commit."""
        for event in events:
            life = self.lives.get(event.command.seq)
            if life is None or life.events[event.revision - 1] != (event.seq, event.kind):
                self._world.violate(f"the gateway was told of an event that is not there: {event}")
                continue
            if event.revision == 1:
                # It is watched a few turns of the loop later.
                self._world.after(0.02, self._reckoned, life, life.reckoning_since)
            if event.command.status.is_end:
                life.end_is_known = True

    def _committed(self) -> None:
        db = self.disk.db
        rows = db.execute(_EVENTS, (self.newest_event,)).fetchall()
        last_of = {}
        for row in rows:
            if row[0] != self.newest_event + 1:
                self._world.violate(f"event {row[0]} follows event {self.newest_event}")
            self.newest_event = row[0]
            life = self.lives.get(row[1]) or self._begin(row)
            self._event(life, row)
            last_of[life] = row
        for life, row in last_of.items():
            stored = (len(life.events), *(life.state.get(name) for name in _COLUMNS))
            if row[7:] != stored:
                self._world.violate(f"{life}: row {row[7:]} and last event {stored} differ")
        for seq, data in db.execute(_LEDGER, (self._newest_unmatched,)):
            self._newest_unmatched = seq
            self.recorded.update(int(number) for number in _NUMBER.findall(data))

    def _begin(self, row: tuple[Any, ...]) -> Life:
        life = Life.of(self.disk.db.execute(IDENTITY, (row[1],)).fetchone())
        life.began_at = self._world.now
        self.lives[life.seq] = self.by_id[life.id] = self.open[life.seq] = life
        if life.key in self.by_key:
            self._world.violate(f"{life} is the second one with its key")
        self.by_key[life.key] = life
        # It was given its time when the call came, a moment ago.
        self._reckon(life, self._world.now - 5.0)
        return life

    def _event(self, life: Life, row: tuple[Any, ...]) -> None:
        seq, _, revision, kind, state_text, reply, response = row[:7]
        before, after = life.state, orjson.loads(state_text)
        if "response_received_at" in after:
            # It is set once, so it stands with the command alone.
            after["vendor_response"] = orjson.loads(response)
        life.state = after
        life.events.append((seq, kind))
        life.changed_at = self._world.now
        world = self._world
        if world.trace is not None:
            world.note("commit", f"{seq} {life} {kind} → {after['status']}", f"rev {revision}")
        if revision != len(life.events):
            world.violate(f"{life}: revision {revision} follows {len(life.events) - 1}")
        status = Status(after["status"])
        was = Status(before["status"]) if before else None
        if not is_legal(EventKind(kind), was, status):
            world.violate(f"{life}: {kind} led from {was} to {status}")
        wrong = self._wrong_about(life, kind, before, after)
        if wrong:
            world.violate(f"{life}: {kind} {wrong}")
        self._heard(life, kind, after, reply)
        if status.is_end and was is not None and not was.is_end:
            life.ended_at_revision = revision
            life.ended_at = world.now
            self.open.pop(life.seq, None)
            self._ended(life)

    def _wrong_about(
        self, life: Life, kind: str, before: dict[str, Any], after: dict[str, Any]
    ) -> str | None:
        """What must not happen to the columns of a command."""
        intended = "sending_at" in before
        if life.is_over:
            for name in (*_FINAL, "sending_at"):
                if before.get(name) != after.get(name):
                    return f"changed {name} after the end"
        for name in _ONCE:
            if name in before and before[name] != after.get(name):
                return f"changed {name}, which stood already"
        if kind == "SENDING":
            life.intents += 1
            life.intended_at = self._world.now
            return "of what is announced already" if intended else None
        if kind == "NOT_SENT":
            if life.may_arrive:
                return "of a message that a dock has or may get"
            return None if intended else "without an announcement"
        if kind == "CANCELLED" and intended:
            return "of what may have left"
        if kind == "DELIVERED" and not life.taken:
            return "although the broker has not taken it"
        if kind == "JOB_STALLED":
            going_on = before.get("job", {}).get("state", "SENT") in ("SENT", "IN_PROGRESS")
            silent = self._world.now - max(life.job_heard_at, life.ended_at)
            if not going_on or silent < JOB_SILENCE_SECONDS - 0.02:
                return f"after {silent:.3f} s of silence, from {before.get('job')}"
        # What is late by the wall clock when it is to be sent ends then, though the clock may have
        # been set back when the store takes that.
        is_late = life.was_late or life.deadline_at <= self._world.wall_ms()
        late = not intended and is_late
        if kind == "EXPIRED" and self._world.now < life.due[0] - 0.002 and not late:
            return f"before its deadline at {life.due}"
        return None

    def _heard(self, life: Life, kind: str, after: dict[str, Any], reply: bytes | None) -> None:
        """Note what a dock said and is now recorded, and whether it may stand there."""
        if kind == "JOB_PROGRESSED":
            said = self.said[int(after["job"]["step"])]
            life.job_heard_at = self._world.now
            if life.job_is_over:
                self._world.violate(f"{life}: its job went on after its end")
            life.job_is_over = JobState(after["job"]["state"]).is_end
            if said.life is None or said.life.gateway_id != life.gateway_id:
                self._world.violate(f"{life}: the job is that of {said.life}")
        elif kind in ("REPLIED", "UNMATCHED_REPLY"):
            content = orjson.loads(reply) if reply is not None else after["vendor_response"]
            said = self.said[content["n"]]
            life.replies += 1
            if life.replies > NOTED_REPLIES + 1:
                self._world.violate(f"{life}: {life.replies} replies are noted")
            if "job" in after and JobState(after["job"]["state"]).is_end:
                life.job_is_over = True
            self._check_reply(life, kind, said)
        else:
            return
        self.recorded.add(said.number)

    def _check_reply(self, life: Life, kind: str, said: Said) -> None:
        about = said.life
        if about is not life:
            alike = said.anonymous and about is not None
            if not alike or about.gateway_id != life.gateway_id:
                self._world.violate(f"{life}: took a reply to {about}")
        elif said.kind == "elsewhere":
            self._world.violate(f"{life}: took a reply from another gateway")
        if (kind == "REPLIED") is not (said.kind == "answer"):
            self._world.violate(f"{life}: {kind} by a reply that is {said.kind!r}")
        status, basis = life.state["status"], life.state.get("completion_basis")
        if not life.is_over and basis == "DEVICE_REPLY":
            expected = "SUCCEEDED" if said.result == 0 else "FAILED"
            if status != expected:
                self._world.violate(f"{life}: {status} by result {said.result}")

    def _ended(self, life: Life) -> None:
        """Hold an end against what is true."""
        world, state = self._world, life.state
        code, kind = state.get("failure_code"), life.events[-1][1]
        if code in REACHED_NOBODY and life.may_arrive:
            world.violate(f"{life}: {code}, but a dock has it or may get it")
        if code == "RESPONSE_TIMEOUT" and not life.taken:
            world.violate(f"{life}: {code}, but the broker has not taken it")
        if code == "OUTCOME_UNKNOWN" and not life.messages and not self._may_not_know(life):
            world.violate(f"{life}: {code}, but nothing was ever sent")
        if state["status"] == "SUCCEEDED" and kind != "REPLIED" and not life.streams:
            world.violate(f"{life}: SUCCEEDED without an answer")
        if kind == "SENT" and not life.messages:
            world.violate(f"{life}: SENT, but nothing was")
        could_end = max(life.due[1], life.reckoned_since)
        late = world.now - could_end
        if late > SLACK and late > SLACK + self._excused(could_end, world.now):
            world.violate(f"{life}: ended {late:.3f} s after its deadline")

    def _may_not_know(self, life: Life) -> bool:
        """Whether the gateway may believe that it has sent what it has not.

        The process that announced it is dead, or what it knew better could not be written.
        """
        since = life.intended_at
        return since < self.started_at or self._excused(since, self._world.now) > 0.0

    def may_be_late(self, life: Life) -> bool:
        """Whether a process had decided to end it, and died before it could write that down."""
        return life.began_at < self.started_at and self.disk.has_failed_since(life.began_at)

    def _excused(self, since: float, until: float) -> float:
        """Seconds in which there was no gateway, or none that could write, up to now."""
        total, covered = 0.0, since
        now_down = (self.down_since, math.inf)
        for begin, end in sorted((*self.down, now_down, *self.disk.excuses)):
            low, high = max(begin, covered), min(end, until)
            if high > low:
                total += high - low
                covered = high
        return total
