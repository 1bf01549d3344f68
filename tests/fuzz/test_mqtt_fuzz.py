"""The fuzz target of the inbound path, for a few seconds; `make fuzz` has more time."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.records import in_status

from dockgate_server.bridge.interface import Inbound
from dockgate_server.codec import envelope
from dockgate_server.inbound.replies import Replies
from dockgate_server.inbound.router import InboundRouter
from dockgate_server.model.command import Status
from dockgate_server.store.sqlite import SqliteStore
from fuzz import messages, mqtt

SEED = 20_261_120


def test_nothing_that_a_stranger_says_does_harm() -> None:
    """And enough of it gets far enough to do some."""
    report = mqtt.run(SEED, 5)
    assert report.failures == []
    for what in ("commands SUCCEEDED", "commands UNMATCHED_RESPONSE", "logged request_answered"):
        assert report.seen[what], f"no input led to {what} any more, so less is shown"


async def test_a_seed_draws_the_same_messages_again(tmp_path: Path) -> None:
    """So what fails once can be looked at."""
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        commands = [await in_status(store, Status.DELIVERED)]
    first, second = (
        [messages.draw(rng, commands) for _ in range(500)]
        for rng in (random.Random(7), random.Random(7))
    )
    assert first == second


def _acknowledging_twice(
    receive: Callable[[InboundRouter, Inbound], None],
) -> Callable[[InboundRouter, Inbound], None]:
    def sabotaged(self: InboundRouter, message: Inbound) -> None:
        receive(self, message)
        if len(message.payload) % 50 == 0:
            message.acknowledge()

    return sabotaged


def _losing(
    receive: Callable[[InboundRouter, Inbound], None],
) -> Callable[[InboundRouter, Inbound], None]:
    def sabotaged(self: InboundRouter, message: Inbound) -> None:
        if len(message.payload) % 50:
            receive(self, message)

    return sabotaged


def _raising(
    receive: Callable[[InboundRouter, Inbound], None],
) -> Callable[[InboundRouter, Inbound], None]:
    def sabotaged(self: InboundRouter, message: Inbound) -> None:
        message.payload.decode()
        receive(self, message)

    return sabotaged


@pytest.mark.parametrize(
    ("sabotage", "noticed"),
    [(_acknowledging_twice, "2 times"), (_losing, "0 times"), (_raising, "raised Unicode")],
)
def test_a_bug_in_the_router_is_noticed(
    monkeypatch: pytest.MonkeyPatch, sabotage: Callable[..., object], noticed: str
) -> None:
    """Or the target would find nothing, whatever there is."""
    monkeypatch.setattr(InboundRouter, "receive", sabotage(InboundRouter.receive))
    report = mqtt.run(SEED, 0)
    assert any(noticed in one for one in report.failures)
    assert report.failing_seed == SEED


def test_an_answer_of_the_wrong_gateway_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it counts as if it were the right one's."""
    handle = Replies.handle

    def sabotaged(
        self: Replies, gateway_id: str, content: envelope.Envelope | None, message: Inbound
    ) -> None:
        handle(self, gateway_id.replace("dock-002", "dock-001"), content, message)

    monkeypatch.setattr(Replies, "handle", sabotaged)
    report = mqtt.run(SEED, 0)
    assert any("by nobody's word" in one for one in report.failures)
