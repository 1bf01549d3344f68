"""The requests of devices over HTTP, as the contract has them."""

from typing import Any

import orjson
import pytest
from support.open_api import JSON, Answer, OpenApiUnderTest

from dockgate_server.access.keys import NewKey
from dockgate_server.http import device_requests
from dockgate_server.model.caller import Scope
from dockgate_server.model.device_request import (
    DeviceRequest,
    Reply,
    ReplySource,
    Routing,
)
from dockgate_server.store.sqlite import database

REQUESTS = "/api/v1/open/device-requests"
NO_ID = "00000000-0000-0000-0000-000000000000"
BOTH = (Scope.REQUESTS_READ, Scope.REQUESTS_CREATE)


@pytest.fixture
async def key(api: OpenApiUnderTest) -> NewKey:
    """A key that may see and answer requests."""
    return await api.keys.create("inbox", scopes=BOTH)


async def _recorded(
    api: OpenApiUnderTest, number: int = 1, reply: Reply | None = None, **changed: Any
) -> DeviceRequest:
    return await api.device_asks(f"00000000-0000-0000-0000-00000000000{number}", reply, **changed)


async def _reply(
    api: OpenApiUnderTest, key: NewKey, request_id: str, body: dict[str, Any]
) -> Answer:
    target, raw = f"{REQUESTS}/{request_id}/reply", orjson.dumps(body)
    headers = {**JSON, **api.sign("POST", target, raw, key)}
    return await api.send("POST", target, headers, raw)


async def test_a_request_that_waits(api: OpenApiUnderTest, key: NewKey) -> None:
    """What has no value yet is left out; the payload is as the device wrote it."""
    request = await _recorded(api)
    answer = await api.get(f"{REQUESTS}/{request.id}", key)
    assert answer.status == 200
    assert answer.body == {
        "request_id": request.id,
        "vendor": "dji",
        "device_id": "dock-001",
        "request_type": "a_newer_request",
        "inbound_payload": {"big": 12345678901234567890},
        "routing_decision": "inbox",
        "received_at": "2026-04-22T12:00:00.000Z",
        "status": "PENDING",
        "expires_at": "2026-04-22T12:00:40.000Z",
    }


async def test_a_reply_is_taken_and_sent(api: OpenApiUnderTest, key: NewKey) -> None:
    """Asking again shows who answered and when."""
    request = await _recorded(api)
    api.clock.advance(2)
    body = {"reply_code": 7, "reply_message": "no", "payload": {"output": {"a": 1}}}
    answer = await _reply(api, key, request.id, body)
    assert answer.status == 202
    (message,) = api.bridge.published
    assert message.topic == "thing/product/dock-001/requests_reply"
    assert (message.tid, message.content["data"]) == ("t1", {"result": 7, "output": {"a": 1}})
    again = await api.get(f"{REQUESTS}/{request.id}", key)
    assert again.body == answer.body
    members = ("reply_code", "reply_message", "reply_source", "standardized_reply", "replied_at")
    assert {name: again.body[name] for name in (*members, "replied_by", "status")} == {
        "reply_code": 7,
        "reply_message": "no",
        "reply_source": "manual",
        "standardized_reply": {"output": {"a": 1}, "result": 7},
        "replied_at": "2026-04-22T12:00:02.000Z",
        "replied_by": key.key.api_id,
        "status": "REPLIED",
    }


async def test_a_reply_needs_no_more_than_its_code(api: OpenApiUnderTest, key: NewKey) -> None:
    """Whatever else is absent or null."""
    request = await _recorded(api)
    body = {"reply_code": 0, "reply_message": None, "payload": None}
    assert (await _reply(api, key, request.id, body)).status == 202
    assert api.bridge.published[0].content["data"] == {"result": 0}


async def test_a_second_reply_must_be_the_same(api: OpenApiUnderTest, key: NewKey) -> None:
    """The same is 202 again, another one 409."""
    request = await _recorded(api)
    assert (await _reply(api, key, request.id, {"reply_code": 0})).status == 202
    assert (await _reply(api, key, request.id, {"reply_code": 0})).status == 202
    other = await _reply(api, key, request.id, {"reply_code": 1})
    assert (other.status, other.code) == (409, "DEVICE_REQUEST_CLOSED")
    assert other.body["metadata"] == {"device_request_id": request.id, "status": "REPLIED"}
    assert len(api.bridge.published) == 1


async def test_a_list_has_items_newest_first(api: OpenApiUnderTest, key: NewKey) -> None:
    """Those that were answered by the gateway itself too; filtered by what the query names."""
    reply = Reply(None, "", ReplySource.AUTO, b'{"app_id":"1"}', True, "registration", 5)
    await _recorded(api, 1, reply, request_type="config", routing=Routing.AUTO)
    await _recorded(api, 2)
    await _recorded(api, 3, gateway_id="dock-002")
    answer = await api.get(REQUESTS, key)
    assert answer.status == 200
    assert list(answer.body) == ["items"]
    assert [one["request_id"][-1] for one in answer.body["items"]] == ["3", "2", "1"]
    auto = answer.body["items"][2]
    assert (auto["routing_decision"], auto["reply_source"]) == ("auto", "auto")
    assert "reply_code" not in auto
    for query, found in (
        ("?vendor=dji&device_id=dock-001", ["2", "1"]),
        ("?request_type=config", ["1"]),
        ("?device_id=dock-009", []),
        ("?device_id=&request_type=", ["3", "2", "1"]),
    ):
        items = (await api.get(REQUESTS + query, key)).body["items"]
        assert [one["request_id"][-1] for one in items] == found, query


async def test_a_list_is_whole_also_where_its_requests_are_large(
    api: OpenApiUnderTest, key: NewKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read a few at a time, until there are as many as a list has."""
    monkeypatch.setattr(database, "LARGEST_PAGE", 100)
    for number in range(1, 6):
        await _recorded(api, number, payload=b'"%s"' % (b"x" * 40))
    items = (await api.get(REQUESTS, key)).body["items"]
    assert [one["request_id"][-1] for one in items] == ["5", "4", "3", "2", "1"]
    monkeypatch.setattr(device_requests, "MOST_LISTED", 3)
    items = (await api.get(REQUESTS, key)).body["items"]
    assert [one["request_id"][-1] for one in items] == ["5", "4", "3"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?vendor=acme", "UNSUPPORTED_VENDOR"),
        ("?device=dock-001", "VALIDATION_FAILED"),
        ("?device_id=a&device_id=b", "VALIDATION_FAILED"),
        (f"?device_id={'x' * 65}", "VALIDATION_FAILED"),
    ],
)
async def test_a_query_that_means_nothing_is_refused(
    api: OpenApiUnderTest, key: NewKey, query: str, code: str
) -> None:
    """A typing error must not look like an empty inbox."""
    answer = await api.get(REQUESTS + query, key)
    assert (answer.status, answer.code) == (400, code)


async def test_a_reply_is_as_deep_over_http_as_over_grpc(
    api: OpenApiUnderTest, key: NewKey
) -> None:
    """Nineteen levels of payload, in one of the body."""
    request = await _recorded(api)
    payload: dict[str, Any] = {}
    for _ in range(18):
        payload = {"a": payload}
    deeper = await _reply(api, key, request.id, {"reply_code": 0, "payload": {"a": payload}})
    assert (deeper.status, deeper.code) == (400, "INVALID_REQUEST_BODY")
    assert (await _reply(api, key, request.id, {"reply_code": 0, "payload": payload})).status == 202


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["reply_code"]),
        ({"reply_code": None}, ["reply_code"]),
        ({"reply_code": "0"}, ["reply_code"]),
        ({"reply_code": True}, ["reply_code"]),
        ({"reply_code": 2**31}, ["reply_code"]),
        ({"reply_code": 0, "reply_message": 1, "payload": []}, ["reply_message", "payload"]),
        ({"reply_code": 0, "reply_message": "x" * 1001}, ["reply_message"]),
        ({"reply_code": 0, "output": {}}, ["output"]),
        ({"reply_code": 0, "payload": {"result": 1}}, ["payload.result"]),
        ({"reply_code": 0, "payload": {"a": [{"size": 2**53 + 1}]}}, ["payload.a[0].size"]),
    ],
)
async def test_a_reply_that_is_wrong_names_its_fields(
    api: OpenApiUnderTest, key: NewKey, body: dict[str, Any], fields: list[str]
) -> None:
    """And is not sent."""
    request = await _recorded(api)
    answer = await _reply(api, key, request.id, body)
    assert (answer.status, answer.code) == (400, "VALIDATION_FAILED")
    assert answer.fields == fields
    assert api.bridge.published == []


@pytest.mark.parametrize("request_id", [NO_ID, "nonsense"])
async def test_an_unknown_request_is_not_found(
    api: OpenApiUnderTest, key: NewKey, request_id: str
) -> None:
    """To see as well as to answer."""
    seen = await api.get(f"{REQUESTS}/{request_id}", key)
    answered = await _reply(api, key, request_id, {"reply_code": 0})
    for answer in (seen, answered):
        assert (answer.status, answer.code) == (404, "DEVICE_REQUEST_NOT_FOUND")


async def test_a_request_of_another_tenant_is_not_found(api: OpenApiUnderTest) -> None:
    """Nor is it listed."""
    request = await _recorded(api)
    stranger = await api.keys.create("other", "another-tenant", BOTH)
    assert (await api.get(f"{REQUESTS}/{request.id}", stranger)).status == 404
    assert (await _reply(api, stranger, request.id, {"reply_code": 0})).status == 404
    assert (await api.get(REQUESTS, stranger)).body == {"items": []}


async def test_each_endpoint_needs_its_scope(api: OpenApiUnderTest) -> None:
    """An ordinary key has neither."""
    request = await _recorded(api)
    reader = await api.keys.create("reader", scopes=[Scope.REQUESTS_READ])
    answerer = await api.keys.create("answerer", scopes=[Scope.REQUESTS_CREATE])
    assert (await _reply(api, reader, request.id, {"reply_code": 0})).code == "FORBIDDEN"
    for one in (answerer, api.key):
        assert (await api.get(REQUESTS, one)).code == "FORBIDDEN"
        assert (await api.get(f"{REQUESTS}/{request.id}", one)).code == "FORBIDDEN"
    assert (await _reply(api, answerer, request.id, {"reply_code": 0})).status == 202


@pytest.mark.parametrize("code", [0, 1])
async def test_to_give_a_dock_its_flight_needs_the_scope_for_dangerous_methods(
    api: OpenApiUnderTest, key: NewKey, code: int
) -> None:
    """It flies the file that it is given; whatever the answer is called."""
    file = {"output": {"file": {"url": "https://files.example/1.kmz", "fingerprint": "f"}}}
    body = {"reply_code": code, "payload": file}
    request = await _recorded(api, request_type="flighttask_resource_get")
    refused = await _reply(api, key, request.id, body)
    assert (refused.status, refused.code) == (403, "FORBIDDEN")
    assert refused.body["metadata"] == {"scope": "open:command:dangerous"}
    assert not api.bridge.published
    may = await api.keys.create("pilot", scopes=[*BOTH, Scope.DANGEROUS])
    assert (await _reply(api, may, request.id, body)).status == 202
    other = await _recorded(api, 2, request_type="flight_areas_get")
    assert (await _reply(api, key, other.id, {"reply_code": 0})).status == 202


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "", "GET"), ("DELETE", f"/{NO_ID}", "GET"), ("GET", f"/{NO_ID}/reply", "POST")],
)
async def test_a_wrong_verb_is_told_the_right_one(
    api: OpenApiUnderTest, key: NewKey, method: str, path: str, allowed: str
) -> None:
    """As everywhere."""
    answer = await api.send(method, REQUESTS + path, api.sign(method, REQUESTS + path, b"", key))
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


async def test_an_unsigned_call_is_refused(api: OpenApiUnderTest) -> None:
    """Each of the three."""
    for method, path in (("GET", ""), ("GET", f"/{NO_ID}"), ("POST", f"/{NO_ID}/reply")):
        answer = await api.send(method, REQUESTS + path, JSON, b"{}" if method == "POST" else None)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
