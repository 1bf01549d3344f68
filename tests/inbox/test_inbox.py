"""Seeing and answering the requests of devices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.desk import Desk, sitting

from dockgate.downlink.v1 import device_request_pb2
from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.inbox import watching
from dockgate_server.inbox.watching import Complete
from dockgate_server.model.caller import LOCAL, Caller, Scope
from dockgate_server.model.device_request import DeviceRequest, ReplySource, RequestStatus, Routing

STRANGER = Caller("another-tenant", "stranger", frozenset(Scope))
READER = Caller("default", "reader", frozenset({Scope.REQUESTS_READ}))
ANSWERER = Caller("default", "answerer", frozenset({Scope.REQUESTS_CREATE}))
NO_ID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with sitting(tmp_path / "dockgate.db") as desk:
        yield desk


def _get(request_id: str) -> pb.GetDeviceRequestRequest:
    return pb.GetDeviceRequestRequest(request_id=request_id)


async def _listed(desk: Desk, caller: Caller = LOCAL, **fields: object) -> list[str]:
    page, _ = await desk.inbox.list(caller, pb.ListDeviceRequestsRequest(**fields))  # type: ignore[arg-type]
    return [one.tid for one in page.requests]


async def test_an_answer_reaches_the_device(desk: Desk) -> None:
    """What was given stands beside the result."""
    request = await desk.asked("a_newer_request")
    await desk.reply(request.id, 314, output={"count": 3, "share": 0.5, "parts": [{"a": None}]})
    assert desk.last().content["data"] == {
        "result": 314,
        "output": {"count": 3, "share": 0.5, "parts": [{"a": None}]},
    }


async def test_asking_again_shows_who_answered_and_when(desk: Desk) -> None:
    """By name, with the answer; who was to answer stays as it was decided."""
    request = await desk.asked("a_newer_request")
    desk.clock.advance(3)
    await desk.reply(request.id, 0, ANSWERER, message="looked at it", output={"a": 1})
    found = await desk.inbox.get(READER, _get(request.id))
    assert (found.status, found.routing) == (RequestStatus.REPLIED, Routing.INBOX)
    assert (found.replied_by, found.reply_source) == ("answerer", ReplySource.MANUAL)
    assert found.replied_at == request.received_at + 3000
    assert (found.reply_code, found.reply_message) == (0, "looked at it")
    assert found.reply == b'{"output":{"a":1},"result":0}'


async def test_the_same_answer_again_is_no_error(desk: Desk) -> None:
    """The first one holds, and is sent once; members have no order."""
    desk.bridge.acknowledge_at_once = True
    request = await desk.asked("a_newer_request")
    first = await desk.reply(request.id, 1, ANSWERER, message="no", a=1, output={"b": 1, "c": 2})
    desk.clock.advance(1)
    again = await desk.reply(request.id, 1, LOCAL, message="no", output={"c": 2, "b": 1}, a=1)
    assert first == again
    assert len(desk.sent()) == 1


@pytest.mark.parametrize(
    "other", [{"code": 2}, {"message": "yes"}, {"output": {"a": 2}}, {"more": 1}]
)
async def test_another_answer_is_refused(desk: Desk, other: dict[str, object]) -> None:
    """It would contradict what the device was told."""
    request = await desk.asked("a_newer_request")
    values: dict[str, object] = {"code": 1, "message": "no", "output": {"a": 1}}
    await desk.reply(request.id, **values)  # type: ignore[arg-type]
    with pytest.raises(DockgateError) as caught:
        await desk.reply(request.id, **(values | other))  # type: ignore[arg-type]
    assert caught.value.reason is Reason.DEVICE_REQUEST_CLOSED
    assert caught.value.metadata == {"device_request_id": request.id, "status": "REPLIED"}
    assert len(desk.sent()) == 1


async def test_of_two_answers_at_once_one_holds(desk: Desk) -> None:
    """The other one is refused; the device hears one."""
    request = await desk.asked("a_newer_request")
    answers = await asyncio.gather(
        desk.reply(request.id, 1), desk.reply(request.id, 2), return_exceptions=True
    )
    held, refused = answers
    assert isinstance(held, DeviceRequest)
    assert isinstance(refused, DockgateError)
    assert [one["data"] for one in desk.sent()] == [{"result": 1}]


async def test_an_answer_that_comes_too_late_is_refused(desk: Desk) -> None:
    """The device no longer waits; nothing is sent."""
    request = await desk.asked("a_newer_request")
    desk.clock.advance(41)
    await desk.settle()
    with pytest.raises(DockgateError) as caught:
        await desk.reply(request.id)
    assert caught.value.reason is Reason.DEVICE_REQUEST_CLOSED
    assert caught.value.metadata["status"] == "EXPIRED"
    assert desk.sent() == []


async def test_who_goes_away_while_answering_has_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded is also sent."""
    asked = asyncio.Event()
    recording = desk.store.requests.answer

    def answer(*values: Any) -> Any:
        asked.set()
        return recording(*values)

    monkeypatch.setattr(desk.store.requests, "answer", answer)
    request = await desk.asked("a_newer_request")
    answering = asyncio.create_task(desk.reply(request.id))
    await asked.wait()
    answering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await answering
    await desk.settle()
    assert [one["tid"] for one in desk.sent()] == ["t1"]


async def test_an_answer_to_config_has_no_result_unless_it_is_a_no(desk: Desk) -> None:
    """As DJI documents it."""
    desk.bridge.acknowledge_at_once = True
    yes = await desk.asked("config", tid="t1")
    no = await desk.asked("config", tid="t2")
    await desk.reply(yes.id, 0, app_id="1", app_key="hush")
    await desk.settle()
    await desk.reply(no.id, 5)
    await desk.settle()
    assert [one["data"] for one in desk.sent()] == [
        {"app_id": "1", "app_key": "hush"},
        {"result": 5},
    ]


async def test_secrets_of_an_answer_are_forgotten_when_it_was_taken(desk: Desk) -> None:
    """They are never shown, and kept only until then."""
    request = await desk.asked("storage_config_get")
    credentials = {"access_key_id": "hush-1", "access_key_secret": "hush-2", "expire": 3600}
    answered = await desk.reply(request.id, output={"bucket": "b", "credentials": credentials})
    assert answered.reply == b'{"output":{"bucket":"b","credentials":{"expire":3600}},"result":0}'
    assert len(await desk.store.requests.unsent()) == 1
    desk.last().acknowledge()
    await desk.settle()
    assert await desk.store.requests.unsent() == []


async def test_a_result_in_the_payload_is_refused(desk: Desk) -> None:
    """There would be two."""
    request = await desk.asked("a_newer_request")
    with pytest.raises(DockgateError) as caught:
        await desk.reply(request.id, 0, result=1)
    assert [one.field for one in caught.value.violations] == ["payload.result"]


async def test_an_answer_without_a_code_is_refused(desk: Desk) -> None:
    """Nothing is meant by default."""
    request = await desk.asked("a_newer_request")
    with pytest.raises(DockgateError) as caught:
        await desk.inbox.reply(LOCAL, pb.ReplyDeviceRequestRequest(request_id=request.id))
    assert [one.field for one in caught.value.violations] == ["reply_code"]


async def test_an_answer_that_is_too_large_is_refused(desk: Desk) -> None:
    """A broker would end the connection for it."""
    request = await desk.asked("a_newer_request")
    with pytest.raises(DockgateError) as caught:
        await desk.reply(request.id, 0, text="\x01" * 50_000)
    assert caught.value.reason is Reason.PAYLOAD_TOO_LARGE
    assert (await desk.inbox.get(READER, _get(request.id))).status is RequestStatus.PENDING


async def test_numbers_that_json_cannot_write_are_refused(desk: Desk) -> None:
    """They would reach the device as null."""
    request = await desk.asked("a_newer_request")
    with pytest.raises(DockgateError) as caught:
        await desk.reply(request.id, 0, share=float("inf"))
    assert caught.value.reason is Reason.VALIDATION_FAILED


async def test_requests_of_another_tenant_do_not_exist(desk: Desk) -> None:
    """Neither to see nor to answer nor to watch."""
    request = await desk.asked("a_newer_request")
    for call in (desk.inbox.get(STRANGER, _get(request.id)), desk.reply(request.id, 0, STRANGER)):
        with pytest.raises(DockgateError) as caught:
            await call
        assert caught.value.reason is Reason.DEVICE_REQUEST_NOT_FOUND
        assert caught.value.metadata == {"device_request_id": request.id}
    assert await _listed(desk, STRANGER) == []
    watch = desk.inbox.watch(STRANGER, pb.WatchDeviceRequestsRequest())
    assert isinstance(await anext(watch), Complete)
    assert await anext(watch) is None


async def test_an_unknown_request_is_not_found(desk: Desk) -> None:
    """With its id, as it was asked for."""
    with pytest.raises(DockgateError) as caught:
        await desk.inbox.get(LOCAL, _get(NO_ID))
    assert caught.value.metadata == {"device_request_id": NO_ID}


async def test_each_call_needs_its_scope(desk: Desk) -> None:
    """To see, or to answer; one does not include the other."""
    request = await desk.asked("a_newer_request")
    watch = desk.inbox.watch(ANSWERER, pb.WatchDeviceRequestsRequest())
    calls = (
        desk.inbox.get(ANSWERER, _get(request.id)),
        desk.inbox.list(ANSWERER, pb.ListDeviceRequestsRequest()),
        anext(watch),
        desk.reply(request.id, 0, READER),
    )
    for call in calls:
        with pytest.raises(DockgateError) as caught:
            await call
        assert caught.value.reason is Reason.FORBIDDEN


async def test_a_list_is_newest_first_and_filtered(desk: Desk) -> None:
    """By gateway device, type and state."""
    await desk.asked("one", tid="t1")
    await desk.asked("two", tid="t2", gateway="dock-002")
    answered = await desk.asked("one", tid="t3", gateway="dock-002")
    await desk.reply(answered.id)
    replied = device_request_pb2.DEVICE_REQUEST_STATUS_REPLIED
    assert await _listed(desk) == ["t3", "t2", "t1"]
    assert await _listed(desk, vendor="dji", request_type="one") == ["t3", "t1"]
    assert await _listed(desk, device_id="dock-002") == ["t3", "t2"]
    assert await _listed(desk, statuses=[replied]) == ["t3"]
    with pytest.raises(DockgateError) as caught:
        await _listed(desk, vendor="acme")
    assert caught.value.reason is Reason.UNSUPPORTED_VENDOR
    assert "must be 'dji'" in caught.value.message


async def test_an_answer_is_as_deep_as_http_can_say_it(desk: Desk) -> None:
    """Nineteen levels, as there is one more around it."""
    request = await desk.asked("a_newer_request")
    deep: dict[str, Any] = {}
    for _ in range(16):
        deep = {"a": deep}
    with pytest.raises(DockgateError) as caught:
        await desk.reply(request.id, output={"a": [deep]})
    assert caught.value.reason is Reason.VALIDATION_FAILED
    assert [one.field for one in caught.value.violations] == ["payload"]
    await desk.reply(request.id, output={"a": deep})
    assert desk.last().content["data"]["output"] == {"a": deep}


async def test_an_id_of_a_request_has_no_case_and_any_form(desk: Desk) -> None:
    """It is a UUID; what is none is that of no request."""
    request = await desk.asked("a_newer_request")
    assert (await desk.inbox.get(LOCAL, _get(request.id.upper()))).id == request.id
    assert (await desk.reply(request.id.upper())).id == request.id
    for call in (desk.inbox.get(LOCAL, _get("x" * 1000)), desk.reply("x" * 1000)):
        with pytest.raises(DockgateError) as caught:
            await call
        assert caught.value.reason is Reason.DEVICE_REQUEST_NOT_FOUND


async def test_a_list_goes_on_page_by_page(desk: Desk) -> None:
    """Without a gap, and with an end."""
    for tid in ("t1", "t2", "t3"):
        await desk.asked("one", tid=tid)
    request, seen = pb.ListDeviceRequestsRequest(page_size=2), []
    for _ in range(2):
        page, request.page_token = await desk.inbox.list(LOCAL, request)
        seen.append([one.tid for one in page.requests])
    assert seen == [["t3", "t2"], ["t1"]]
    assert request.page_token == ""


async def test_a_watch_begins_with_those_that_wait(desk: Desk) -> None:
    """Then each one that comes or changes, as it is now; silence has a sign of life."""
    desk.bridge.acknowledge_at_once = True
    closed = await desk.asked("one", tid="t1")
    await desk.reply(closed.id)
    waiting = await desk.asked("one", tid="t2")
    watch = desk.inbox.watch(LOCAL, pb.WatchDeviceRequestsRequest(request_type="one"))
    assert await anext(watch) == waiting
    assert isinstance(await anext(watch), Complete)
    assert await anext(watch) is None
    await desk.asked("another", tid="t3")
    answered = await desk.reply(waiting.id)
    assert await anext(watch) == answered
    new = await desk.asked("one", tid="t4")
    assert await anext(watch) == new
    desk.clock.advance(60)
    await desk.settle()
    expired = await anext(watch)
    assert expired is not None
    assert (expired.id, expired.status) == (new.id, RequestStatus.EXPIRED)


async def test_a_request_that_comes_while_a_watch_begins_is_told_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is among those that wait, and it is news."""
    store = desk.inbox._store
    read = store.waiting

    async def one_comes_before() -> Any:
        await desk.asked("one", tid="t1")
        return await read()

    monkeypatch.setattr(store, "waiting", one_comes_before)
    watch = desk.inbox.watch(LOCAL, pb.WatchDeviceRequestsRequest())
    assert isinstance(await anext(watch), DeviceRequest)
    assert isinstance(await anext(watch), Complete)
    assert await anext(watch) is None


async def test_a_watch_ends_with_the_gateway(desk: Desk) -> None:
    """With UNAVAILABLE: trying again is right."""
    watch = desk.inbox.watch(LOCAL, pb.WatchDeviceRequestsRequest())
    assert isinstance(await anext(watch), Complete)
    desk.inbox.close()
    with pytest.raises(DockgateError, match="stopping") as caught:
        await anext(watch)
    assert caught.value.reason is Reason.UNAVAILABLE


async def test_a_watcher_that_never_looks_is_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than keeping what it has not seen without a bound."""
    monkeypatch.setattr(watching, "MOST_UNSEEN", 2)
    watch = desk.inbox.watch(LOCAL, pb.WatchDeviceRequestsRequest())
    assert isinstance(await anext(watch), Complete)
    for tid in ("t1", "t2", "t3"):
        await desk.asked("one", tid=tid)
    with pytest.raises(DockgateError, match="too slow"):
        await anext(watch)
