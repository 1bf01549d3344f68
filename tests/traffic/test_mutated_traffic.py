"""Real messages with something wrong in them: whatever a device sends, the gateway goes on."""

import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.rig import Rig, starting

from dockgate_server.codec import topics
from dockgate_server.model.command import Status
from traffic.messages import MESSAGES, REPLIES
from traffic.mutations import Spoilt, patiently_read, spoil

EACH = 15
"""How often every message is spoilt."""


async def _accept_what_is_answered(rig: Rig) -> dict[str, str]:
    """Open commands for every reply; answers with the gateway of each."""
    for reply in REPLIES:
        await rig.accept(
            id=reply.payload["tid"],
            gateway_id=reply.gateway_id,
            command_type=reply.payload["method"],
            job_key="T-FIXTURE-001",
            timeout_seconds=300,
        )
    return {reply.payload["tid"]: reply.gateway_id for reply in REPLIES}


def _named_by(spoilt: Spoilt) -> tuple[str, str] | None:
    """The gateway and the tid of a reply, by a reading of our own; None where it is none."""
    topic, content = spoilt
    where = topics.parse(topic)
    if where is None or where[0] not in (topics.Up.SERVICES_REPLY, topics.Up.SET_REPLY):
        return None
    values = patiently_read(content)
    tid = values.get("tid") if isinstance(values, dict) else None
    return (where[1], tid) if isinstance(tid, str) else None


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_spoilt_traffic_raises_nothing_and_ends_only_what_it_names(
    tmp_path: Path, seed: int
) -> None:
    """And all of it is acknowledged: what is not would come again for ever."""
    rng = random.Random(seed)
    sent = [spoil(rng, message) for message in MESSAGES for _ in range(EACH)]
    rng.shuffle(sent)
    with capture_logs() as entries:
        async with starting(tmp_path / "dockgate.db") as rig:
            gateways = await _accept_what_is_answered(rig)
            for number, (topic, content) in enumerate(sent):
                rig.receive(str(number), topic, content)
                if not number % 100:
                    await rig.settle()
            await rig.settle()
            ended = [one for one in gateways if (await rig.now(one)).status.is_end]
            # It goes on: a command to a gateway that has said all that.
            command_id = await rig.accept(gateway_id=MESSAGES[-1].gateway_id)
            rig.reply(command_id, gateway=MESSAGES[-1].gateway_id)
            assert (await rig.ended(command_id))[0] is Status.SUCCEEDED

    assert sorted(rig.acknowledged[:-1], key=int) == [str(number) for number in range(len(sent))]
    assert [one for one in entries if one["log_level"] in ("error", "critical")] == []
    named = {_named_by(one) for one in sent}
    assert ended, "no spoilt message is an answer any more, so nothing is shown"
    assert [one for one in ended if (gateways[one], one) not in named] == []


def test_a_seed_spoils_the_same_way_again() -> None:
    """So what fails once can be looked at."""
    first, second = (
        [spoil(rng, message) for message in MESSAGES]
        for rng in (random.Random(7), random.Random(7))
    )
    assert first == second
