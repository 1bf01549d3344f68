"""The inbound path under messages that nobody meant: the real router, handlers and store.

A run is a row of histories. Each has a seed of its own, a new database and commands that are open;
the test plays the broker, so it sees what is acknowledged. What must hold:

* nothing is raised, and nothing logged as an error;
* each message is acknowledged once;
* a command changes its status only by a message of its own gateway device that names it, or that
  says who is there, and succeeds only if such a message says so;
* nothing is left waiting, and nothing grows with what strangers make up;
* the database is sound, and its events tell the same as its commands.
"""

import asyncio
import random
import sqlite3
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from structlog.testing import capture_logs
from support.bridge import ScriptedBridge
from support.records import CHARGE_OPEN, SETUP_ABORT
from support.rig import Rig, starting
from support.vault import VAULT
from traffic.messages import REPLIES
from traffic.mutations import Spoilt, patiently_read

from dockgate_server import config
from dockgate_server.bridge.interface import Inbound
from dockgate_server.codec import topics
from dockgate_server.codec.topics import Up
from dockgate_server.devices.state import StateBoard
from dockgate_server.hub import Feed
from dockgate_server.inbound import wiring
from dockgate_server.inbound.events import Events
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbound.requests import Requests
from dockgate_server.model.command import Channel, Command, FailureCode, Status
from dockgate_server.providers.wiring import providers
from fuzz import messages
from fuzz.report import Report, in_rounds

MESSAGES: Final = 1500
"""In one history."""
BATCH: Final = 50
"""Messages that come before anything else has its turn."""
ANSWER_SECONDS: Final = 40.0
MOST_DEVICES: Final = 250
"""That one gateway device can make known; more than its limit by what comes at once."""
MOST_MEMBERS: Final = 500
"""Members of the state of one device, on each of its two topics."""
WARM_UP: Final = 3
"""Histories after which the process has all that it goes on to have."""

SETTINGS: Final = {
    "registration": {
        "app_id": "1",
        "app_key": "a key",
        "app_license": "a licence",
        "organizations": (
            {"id": "organization-001", "name": "Works", "binding_code": "binding-001"},
        ),
    }
}
KINDS: Final[tuple[dict[str, Any], ...]] = (
    {"command_type": SETUP_ABORT},
    {"command_type": CHARGE_OPEN},
    {"command_type": "flighttask_execute", "job_key": "flight-001"},
    {
        "command_type": "height_limit",
        "channel": Channel.PROPERTY_SET,
        "data": b'{"height_limit":100}',
    },
    {"command_type": "drc_gimbal_reset", "channel": Channel.DRC, "data": b"{}"},
)


def run(seed: int, seconds: float) -> Report:
    """Run one history after the other until the time is over, but at least one."""
    return in_rounds(Report("mqtt", seed), seconds, _history, warm_up=WARM_UP)


@dataclass
class _Witness:
    """What came in and what became of it, by a reading that is not the gateway's."""

    rig: Rig
    failures: list[str] = field(default_factory=list)
    acknowledged: Counter[int] = field(default_factory=Counter)
    statuses: dict[str, Status] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    named: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By command: the messages of its gateway that name it, and have come since the last look."""
    left: set[str] = field(default_factory=set)
    """The gateways of which a last will has come, or that have named what is connected to them."""

    async def add(self, command_id: str) -> None:
        """Follow one more command."""
        command = await self.rig.now(command_id)
        self.commands[command_id] = command
        self.statuses[command_id] = command.status

    def note(self, spoilt: Spoilt) -> None:
        """A message is about to come in."""
        topic, content = spoilt
        where = topics.parse(topic)
        said = patiently_read(content)
        if where is None or not isinstance(said, dict):
            return
        up, gateway_id = where
        ids = (said.get(name) for name in ("tid", "bid"))
        data = said.get("data")
        names = isinstance(data, dict) and bool(data.get("sub_devices"))
        if up is Up.STATUS and (names or not any(isinstance(one, str) and one for one in ids)):
            self.left.add(gateway_id)
        if up in (Up.SERVICES_REPLY, Up.SET_REPLY):
            tid = said.get("tid")
            self._note(str(tid), gateway_id, said)
        elif up is Up.DRC_UP:
            for command in self.commands.values():
                if command.channel is Channel.DRC and command.command_type == said.get("method"):
                    self._note(command.id, gateway_id, said)

    def _note(self, command_id: str, gateway_id: str, said: dict[str, Any]) -> None:
        command = self.commands.get(command_id)
        if command is not None and command.gateway_id == gateway_id:
            self.named.setdefault(command_id, []).append(said)

    async def look(self) -> None:
        """Compare every status with the last one."""
        for command_id, before in self.statuses.items():
            if before.is_end:
                continue
            command = await self.rig.now(command_id)
            self.statuses[command_id] = command.status
            if command.status in (before, Status.DELIVERED):
                continue
            said = self.named.get(command_id, [])
            away = command.failure_code is FailureCode.DEVICE_OFFLINE
            if not said and not (away and command.gateway_id in self.left):
                self.failures.append(f"{command_id} became {command.status} by nobody's word")
            if command.status is Status.SUCCEEDED and not any(map(_says_success, said)):
                self.failures.append(f"{command_id} succeeded, which no message says")
        self.named.clear()


async def _history(seed: int, folder: Path, report: Report) -> list[str]:
    rng = random.Random(seed)
    database = folder / "dockgate.db"
    trouble: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: trouble.append(f"not handled: {context}")
    )
    with capture_logs() as entries:
        async with _gateway(database) as (rig, requests, states):
            witness = _Witness(rig)
            for reply in REPLIES:
                tid, method = reply.payload["tid"], reply.payload["method"]
                gateway = {"gateway_id": reply.gateway_id, "timeout_seconds": 300}
                await witness.add(await rig.accept(id=tid, command_type=method, **gateway))
            for number in range(MESSAGES):
                if not number % BATCH:
                    await _between(rig, requests, witness, rng)
                commands = list(witness.commands.values())
                kind, spoilt = messages.draw(rng, commands[-40:])
                report.seen[kind] += 1
                witness.note(spoilt)
                try:
                    _receive(rig, number, spoilt, witness)
                except Exception as error:
                    trouble.append(f"message {number} raised {error!r}")
            await _settle(rig, requests)
            await witness.look()
            report.inputs += MESSAGES
            report.seen.update(f"commands {status}" for status in witness.statuses.values())
            trouble += witness.failures
            trouble += _unacknowledged(witness)
            trouble += _grown(rig, states)
    trouble += [f"logged: {one}" for one in entries if one["log_level"] in ("error", "critical")]
    report.seen.update(f"logged {one['event']}" for one in entries)
    return trouble + _unsound(database)


@asynccontextmanager
async def _gateway(database: Path) -> Any:
    bridge = ScriptedBridge(acknowledge_at_once=True)
    settings = config.load(**SETTINGS)
    states = StateBoard()
    async with starting(database, bridge) as rig:
        replies = RequestReplies(bridge, rig.store.requests, rig.clock, VAULT, ANSWER_SECONDS)
        answering = providers(settings, rig.store.sources, rig.clock, rig.registry.bound)
        requests = Requests(rig.store.requests, answering, replies, rig.clock, ANSWER_SECONDS)
        rig.inbound = wiring.router(
            bridge,
            rig.registry,
            rig.presence,
            rig.recorder,
            rig.clock,
            Events(bridge, rig.store.events, Feed(), rig.clock, lambda _: None),
            rig.dispatcher.outstanding,
            requests=requests,
            states=states,
            raw_methods=True,
        )
        try:
            yield rig, requests, states
        finally:
            await requests.close()
            replies.close()


async def _between(rig: Rig, requests: Requests, witness: _Witness, rng: random.Random) -> None:
    """Let everything happen, look, let some time pass, and submit something."""
    await _settle(rig, requests)
    await witness.look()
    # Of what was sent nothing is read again.
    rig.bridge.published.clear()
    rig.bridge.answers.clear()
    # Less than the shortest deadline altogether: no command ends by time.
    rig.clock.advance(rng.choice((0.0, 0.5, 4.0, 8.0)))
    for gateway_id in messages.GATEWAYS:
        # An id of the seed's own, so that messages which name it are the same in the next run.
        of_seed = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        kind = {**rng.choice(KINDS), "gateway_id": gateway_id, "timeout_seconds": 300}
        await witness.add(await rig.accept(id=of_seed, **kind))


async def _settle(rig: Rig, requests: Requests) -> None:
    for _ in range(3):
        while requests._serving:
            await asyncio.wait(requests._serving.values())
        await rig.settle()


def _receive(rig: Rig, number: int, spoilt: Spoilt, witness: _Witness) -> None:
    topic, content = spoilt

    def acknowledge() -> None:
        witness.acknowledged[number] += 1

    rig.inbound.receive(Inbound(topic, content, acknowledge))


def _says_success(said: dict[str, Any]) -> bool:
    """Whether there is a zero where a result may stand, at any depth."""
    pending: list[Any] = [said.get("data")]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            for name, below in value.items():
                if name in ("result", "code") and _is_zero(below):
                    return True
                pending.append(below)
    return False


def _is_zero(value: object) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return float(str(value)) == 0
    except ValueError:
        return False


def _unacknowledged(witness: _Witness) -> list[str]:
    wrong = [
        (number, witness.acknowledged[number])
        for number in range(MESSAGES)
        if witness.acknowledged[number] != 1
    ]
    return [f"message {number} was acknowledged {times} times" for number, times in wrong[:5]]


def _grown(rig: Rig, states: StateBoard) -> list[str]:
    """What has become larger than any real device makes it."""
    found = []
    of_gateway = Counter(device.gateway_id for device in rig.registry.list("default"))
    for gateway_id, count in of_gateway.items():
        if count > MOST_DEVICES:
            found.append(f"{gateway_id} has made {count} devices known")
    for device in rig.registry.list("default"):
        state = states.of(device.id)
        largest = max(len(state.osd), len(state.reported)) if state else 0
        if largest > MOST_MEMBERS:
            found.append(f"the state of {device.id} has {largest} members")
    return found


def _unsound(database: Path) -> list[str]:
    """What does not hold in the database."""
    checks: dict[str, str] = {
        "the file": "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
        "references": "SELECT * FROM pragma_foreign_key_check",
        "revisions": """
            SELECT command.id, command.revision, count(*), max(e.revision)
            FROM command LEFT JOIN command_event AS e ON e.command_seq = command.seq
            GROUP BY command.seq
            HAVING count(*) <> command.revision OR max(e.revision) <> command.revision""",
        "states of events": """
            SELECT command.id, command.status, e.state
            FROM command JOIN command_event AS e
            ON e.command_seq = command.seq AND e.revision = command.revision
            WHERE json_extract(CAST(e.state AS TEXT), '$.status') <> command.status""",
    }
    found = []
    connection = sqlite3.connect(database)
    try:
        for what, query in checks.items():
            found += [f"{what}: {row}" for row in connection.execute(query).fetchmany(3)]
    finally:
        connection.close()
    return found
