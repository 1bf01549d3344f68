"""Cancelling: what has not been sent is withdrawn, what has been is not pretended to be."""

import asyncio

import pytest
from support.bridge import NOBODY
from support.core import Core
from support.gateway import recording_start

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller, Scope
from dockgate_server.model.command import EventKind, FailureCode, Status


async def unsent(core: Core, key: str = "k") -> str:
    """A command that waits for the connection to the broker."""
    core.bridge.connected = False
    core.dispatcher.connection_changed()
    return (await core.commands.submit(LOCAL, recording_start(key))).command.id


async def sent(core: Core) -> str:
    """A command that has been handed to the broker."""
    command_id = (await core.commands.submit(LOCAL, recording_start("k"))).command.id
    await core.bridge.wait_published(1)
    return command_id


def connect(core: Core) -> None:
    """The broker is back."""
    core.bridge.connected = True
    core.dispatcher.connection_changed()


def cancelling(command_id: str) -> pb.CancelCommandRequest:
    """The request."""
    return pb.CancelCommandRequest(command_id=command_id)


async def refusal(core: Core, command_id: str, caller: Caller = LOCAL) -> DockgateError:
    """What cancelling is refused with."""
    with pytest.raises(DockgateError) as refused:
        await core.commands.cancel(caller, cancelling(command_id))
    return refused.value


async def test_what_has_not_been_sent_is_withdrawn_and_never_sent(core: Core) -> None:
    """FAILED, CANCELLED, with its event; the device never hears of it."""
    withdrawn, other = await unsent(core, "k1"), await unsent(core, "k2")
    command = await core.commands.cancel(LOCAL, cancelling(withdrawn))
    assert (command.status, command.failure_code) == (Status.FAILED, FailureCode.CANCELLED)
    assert command.failure_reason == "the caller withdrew the command before it was sent"
    events = await core.store.events_of_command("default", withdrawn, 0, 10)
    assert [event.kind for event in events] == [EventKind.ACCEPTED, EventKind.CANCELLED]
    connect(core)
    await core.bridge.wait_published(1)
    assert [message.tid for message in core.bridge.published] == [other]


async def test_cancelling_again_gives_the_same_answer(core: Core) -> None:
    """A caller that got no answer repeats the call."""
    command_id = await unsent(core)
    first = await core.commands.cancel(LOCAL, cancelling(command_id))
    assert await core.commands.cancel(LOCAL, cancelling(command_id)) == first


async def test_what_has_been_sent_is_not_withdrawn_and_the_refusal_names_the_inverse(
    core: Core,
) -> None:
    """It cannot be called back; what undoes it is the caller's to decide."""
    command_id = await sent(core)
    refused = await refusal(core, command_id)
    assert refused.reason is Reason.COMMAND_NOT_CANCELLABLE
    assert catalogue.METHODS["camera_recording_start"].spec.inverse == "camera_recording_stop"
    assert refused.metadata == {
        "command_id": command_id,
        "status": "ACCEPTED",
        "inverse_method": "camera_recording_stop",
    }
    assert "camera_recording_stop is the method that undoes or stops it" in refused.message
    assert (await core.commands.get(LOCAL, pb.GetCommandRequest(command_id=command_id))).revision


async def test_what_has_ended_is_not_withdrawn(core: Core) -> None:
    """The refusal says how it ended."""
    command_id = await sent(core)
    await core.reply(command_id, {"result": 0})
    refused = await refusal(core, command_id)
    assert refused.metadata["status"] == "SUCCEEDED"
    assert "has ended as SUCCEEDED" in refused.message


async def test_what_the_device_refused_has_no_inverse_to_name(core: Core) -> None:
    """Nothing was begun; undoing it could break off what somebody else began."""
    command_id = await sent(core)
    await core.reply(command_id, {"result": 319015})
    refused = await refusal(core, command_id)
    assert refused.metadata == {"command_id": command_id, "status": "FAILED"}
    assert "there is nothing to undo" in refused.message


async def test_what_reached_nobody_has_no_inverse_to_name(core: Core) -> None:
    """Nothing happened that could be undone."""
    request = recording_start("k", offline_policy=command_pb2.OFFLINE_POLICY_FAIL_FAST)
    command_id = (await core.commands.submit(LOCAL, request)).command.id
    core.bridge.published[0].acknowledge(NOBODY)
    async for event in core.commands.watch(LOCAL, pb.WatchCommandRequest(command_id=command_id)):
        assert event is not None
    refused = await refusal(core, command_id)
    assert "inverse_method" not in refused.metadata


async def test_the_race_with_sending_has_one_winner(core: Core) -> None:
    """Either it is cancelled and not sent, or it is sent and not cancelled."""
    ids = [await unsent(core, f"k{number}") for number in range(20)]
    connect(core)
    answers = await asyncio.gather(
        *(core.commands.cancel(LOCAL, cancelling(one)) for one in ids), return_exceptions=True
    )
    withdrawn = {one for one, answer in zip(ids, answers, strict=True) if not _refused(answer)}
    await core.bridge.wait_published(len(ids) - len(withdrawn))
    assert {message.tid for message in core.bridge.published} == set(ids) - withdrawn


def _refused(answer: object) -> bool:
    assert not isinstance(answer, BaseException) or isinstance(answer, DockgateError)
    return isinstance(answer, DockgateError)


async def test_another_tenants_command_is_not_known(core: Core) -> None:
    """It is not cancelled either."""
    command_id = await unsent(core)
    other = Caller("other", "somebody", frozenset(Scope))
    assert (await refusal(core, command_id, other)).reason is Reason.COMMAND_NOT_FOUND
    command = await core.store.get_command("default", command_id)
    assert command is not None
    assert command.status is Status.ACCEPTED


async def test_cancelling_needs_the_scope_to_create(core: Core) -> None:
    """Who may not submit may not withdraw."""
    command_id = await unsent(core)
    reader = Caller("default", "reader", frozenset({Scope.READ}))
    refused = await refusal(core, command_id, reader)
    assert refused.reason is Reason.FORBIDDEN
    assert refused.message == f"{reader.principal} lacks the scope open:command:create"
