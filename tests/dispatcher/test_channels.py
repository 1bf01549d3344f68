"""property/set and DRC: whose answer a message is, and what may be sent when."""

from typing import Any

import orjson
import pytest
from support.records import SETUP_ABORT, ledger
from support.rig import BreakingBridge, Rig, Start

from dockgate_server.bridge.interface import ConnectionLost, NotConnected
from dockgate_server.model.command import Channel, CompletionBasis, FailureCode, Status

STICK = {"command_type": "stick_control", "channel": Channel.DRC, "data": b'{"roll":1024}'}
LENS = {
    "command_type": "drc_live_lens_change",
    "channel": Channel.DRC,
    "data": b'{"video_type":"wide"}',
}
RESET = {"command_type": "drc_gimbal_reset", "channel": Channel.DRC, "data": b"{}"}


async def a_property(rig: Rig, sent: Any = 100) -> str:
    """A property that is being set."""
    data = orjson.dumps(sent if isinstance(sent, dict) else {"height_limit": sent})
    return await rig.accept(command_type="height_limit", channel=Channel.PROPERTY_SET, data=data)


async def set_reply(rig: Rig, command_id: str, data: Any) -> Status:
    """Let the dock answer a property; gives what the command has become."""
    content = {"tid": command_id, "data": data}
    rig.receive(command_id, "thing/product/dock-001/property/set_reply", content)
    await rig.settle()
    return (await rig.now(command_id)).status


async def drc_up(rig: Rig, method: str, data: Any = None, **more: Any) -> None:
    """Let the dock say something on drc/up."""
    content = {"method": method, "data": data or {"result": 0}, **more}
    rig.receive(method, "thing/product/dock-001/drc/up", content)
    await rig.settle()


BOTH = {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("sent", "data", "status"),
    [
        (100, {"height_limit": {"result": 0}}, Status.SUCCEEDED),
        (100, {"height_limit": {"result": 1}}, Status.FAILED),
        (100, {"result": 314000}, Status.FAILED),
        (100, {"night_lights_state": {"result": 0}}, Status.UNMATCHED_RESPONSE),
        (100, {"height_limit": {}}, Status.UNMATCHED_RESPONSE),
        (100, {"height_limit": {"result": None}}, Status.UNMATCHED_RESPONSE),
        (100, {}, Status.UNMATCHED_RESPONSE),
        (100, [], Status.UNMATCHED_RESPONSE),
        (BOTH, {"height_limit": {"result": 0}}, Status.SUCCEEDED),
        (BOTH, {"height_limit": {"a": {"result": 0}, "b": {"result": 0}}}, Status.SUCCEEDED),
        (BOTH, {"height_limit": {"a": {"result": 0}, "b": {"result": 2}}}, Status.FAILED),
        (BOTH, {"height_limit": {"a": {"result": 0}}}, Status.UNMATCHED_RESPONSE),
        (
            BOTH,
            {"height_limit": {"a": {"result": 0}, "b": {"result": "odd"}}},
            Status.UNMATCHED_RESPONSE,
        ),
        (100, {"result": 0, "height_limit": {"result": 1}}, Status.FAILED),
        (100, {"result": 0, "height_limit": {"result": "odd"}}, Status.UNMATCHED_RESPONSE),
        (100, {"result": 0, "height_limit": {}}, Status.SUCCEEDED),
        (BOTH, {"height_limit": {"result": 0, "b": {"result": 1}}}, Status.FAILED),
        (BOTH, {"height_limit": {"result": 1, "b": {"result": 0}}}, Status.FAILED),
        (
            {"53-0-0": {"height_limit": 1}},
            {"53-0-0": {"height_limit": {"result": 0}}},
            Status.SUCCEEDED,
        ),
    ],
    ids=str,
)
async def test_a_set_reply_ends_the_property_by_what_it_says_of_it(
    rig: Rig, sent: Any, data: Any, status: Status
) -> None:
    """Everything that was sent must have a result, and every result be readable and zero."""
    if sent is BOTH:
        sent = {"height_limit": BOTH}
    assert await set_reply(rig, await a_property(rig, sent), data) is status


async def test_a_property_that_is_not_set_is_named_whatever_stands_above_it(rig: Rig) -> None:
    """A result for the whole hides none of its members."""
    command_id = await a_property(rig, {"height_limit": BOTH})
    members = {"a": {"result": 2}, "b": {"result": 0}}
    await set_reply(rig, command_id, {"result": 0, "height_limit": {"result": 1, **members}})
    reason = "not set: height_limit: 1 (failed), height_limit.a: 2 (timed out)"
    assert (await rig.now(command_id)).failure_reason == reason


@pytest.mark.parametrize("method", ["property_set", "height_limit", "set"])
async def test_the_answer_to_a_property_needs_no_method_so_any_will_do(
    rig: Rig, method: str
) -> None:
    """DJI's has none; whose it is the tid says, and its names which property."""
    command_id = await a_property(rig)
    content = {"tid": command_id, "method": method, "data": {"height_limit": {"result": 0}}}
    rig.receive(command_id, "thing/product/dock-001/property/set_reply", content)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.SUCCEEDED


async def test_a_reply_on_another_channel_is_no_answer(rig: Rig) -> None:
    """The tid fits, the topic does not."""
    command_id = await a_property(rig)
    content = {"tid": command_id, "method": "height_limit", "data": {"result": 0}}
    rig.receive(command_id, "thing/product/dock-001/services_reply", content)
    await rig.settle()
    assert (await rig.now(command_id)).status is Status.UNMATCHED_RESPONSE


async def test_a_drc_answer_is_found_by_its_number(rig: Rig) -> None:
    """Answers may overtake each other."""
    first, second = await rig.accept(**RESET), await rig.accept(**RESET)
    number = (await rig.now(second)).seq
    await drc_up(rig, "drc_gimbal_reset", seq=number)
    assert (await rig.now(second)).status is Status.SUCCEEDED
    assert (await rig.now(first)).status is Status.ACCEPTED


async def test_an_answer_without_a_number_is_not_given_to_one_of_two(rig: Rig) -> None:
    """It may be to the other one; to one alone it is given."""
    first, second = await rig.accept(**RESET), await rig.accept(**RESET)
    await drc_up(rig, "drc_gimbal_reset", {"result": 1})
    assert {(await rig.now(one)).status for one in (first, second)} == {Status.ACCEPTED}
    await drc_up(rig, "drc_gimbal_reset", seq=(await rig.now(second)).seq)
    await drc_up(rig, "drc_gimbal_reset", {"result": 1})
    assert (await rig.now(first)).status is Status.FAILED


async def test_a_method_without_a_number_takes_an_answer_that_has_one(rig: Rig) -> None:
    """Firmware is not the documentation."""
    command_id = await rig.accept(**LENS)
    await rig.bridge.wait_published(1)
    await drc_up(rig, "drc_live_lens_change", seq=1_000_000)
    assert (await rig.now(command_id)).status is Status.SUCCEEDED


async def test_one_that_waits_for_its_like_holds_nobody_up(rig: Rig) -> None:
    """Others are sent with their acceptance, as ever."""
    for _ in range(2):
        await rig.accept(**LENS)
    await rig.settle()
    assert rig.dispatcher.backlog == 1
    other = await rig.accept(command_type=SETUP_ABORT, gateway_id="dock-002")
    assert other in [message.content.get("tid") for message in rig.bridge.published]


async def test_pushes_on_drc_up_are_passed_over(rig: Rig) -> None:
    """At up to 30 a second from each dock they must cost nothing, raw methods or not."""
    rig.inbound._raw_methods = True
    for number in range(3):
        await drc_up(rig, "osd_info_push", {"yaw": 1}, seq=number)
        await drc_up(rig, "drc_camera_osd_info_push", {"gimbal_yaw": 1})
    assert await ledger(rig.store) == []


async def test_a_control_stream_is_sent_at_once_and_ends_with_that(rig: Rig) -> None:
    """Without a place in the window, and without waiting for anybody."""
    command_id = await rig.accept(**STICK)
    await rig.settle()
    command = await rig.now(command_id)
    assert command.status is Status.SUCCEEDED
    assert command.completion_basis is CompletionBasis.LOCAL_SEND
    assert [topic for topic, _ in rig.bridge.streamed] == ["thing/product/dock-001/drc/down"]
    assert rig.bridge.published == []


async def test_a_control_stream_is_never_queued(rig: Rig) -> None:
    """A stick that moves when the connection comes back would be worse than none."""
    rig.connect(False)
    command_id = await rig.accept(**STICK)
    assert await rig.ended(command_id) == (Status.FAILED, FailureCode.NOT_CONNECTED)
    rig.connect()
    await rig.settle()
    assert rig.bridge.streamed == []


async def test_a_control_stream_needs_a_broker_that_expires(rig: Rig) -> None:
    """Otherwise it could arrive late."""
    rig.bridge.expires_messages = False
    command_id = await rig.accept(**STICK)
    assert await rig.ended(command_id) == (Status.FAILED, FailureCode.EXPIRY_UNSUPPORTED)


@pytest.mark.parametrize("problem", [NotConnected, ConnectionLost])
async def test_a_control_stream_that_cannot_leave_says_why(
    start: Start, problem: type[Exception]
) -> None:
    """The socket may be breaking while the bridge still says that it is connected."""

    class Breaking(BreakingBridge):
        def stream(self, topic: str, payload: bytes, expiry_seconds: int) -> None:
            raise problem

    async with start(Breaking()) as rig:
        command_id = await rig.accept(**STICK)
        assert await rig.ended(command_id) == (Status.FAILED, FailureCode.NOT_CONNECTED)


async def test_an_answer_without_a_number_is_not_for_a_command_that_has_not_left(rig: Rig) -> None:
    """It came while that one was being accepted: it is the first one's second answer."""
    await rig.accept(**RESET)
    await drc_up(rig, "drc_gimbal_reset", seq=1)
    accepting = rig.submit(**RESET)
    rig.receive("again", "thing/product/dock-001/drc/up", _answer_without_number())
    second = (await accepting).command.id
    await rig.settle()
    assert (await rig.now(second)).status is Status.ACCEPTED
    assert len(await ledger(rig.store)) == 1
    await drc_up(rig, "drc_gimbal_reset")
    assert (await rig.now(second)).status is Status.SUCCEEDED


async def test_an_answer_without_a_number_finds_its_command_after_a_restart(start: Start) -> None:
    """It may come from an earlier life's command, or from a copy of it."""
    async with start() as before:
        command_id = await before.accept(**RESET)
    async with start() as after:
        await drc_up(after, "drc_gimbal_reset")
        assert (await after.now(command_id)).status is Status.SUCCEEDED


@pytest.mark.parametrize(("age", "streamed"), [(0.999, 1), (1.0, 0)])
async def test_a_control_stream_that_took_too_long_to_accept_is_not_sent(
    rig: Rig, age: float, streamed: int
) -> None:
    """It is outdated after a second, and not only behind it."""
    accepting = rig.submit(**STICK)
    rig.clock.advance(age)
    await accepting
    await rig.settle()
    assert len(rig.bridge.streamed) == streamed


async def test_nothing_is_remembered_of_drc_commands_that_have_ended(rig: Rig) -> None:
    """Neither of them nor of their kind: serial numbers come and go."""
    commands = [await rig.accept(gateway_id=f"dock-{number}", **RESET) for number in range(3)]
    assert len(rig.dispatcher.outstanding._ids) == 3
    rig.clock.advance(30)
    for command_id in commands:
        await rig.ended(command_id)
    assert rig.dispatcher.outstanding._ids == {}


def _answer_without_number() -> dict[str, Any]:
    return {"method": "drc_gimbal_reset", "data": {"result": 0}}
