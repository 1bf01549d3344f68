"""The contract's table of errors, row by row: each is provoked over HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import orjson
import pytest
import structlog
from support.open_api import (
    COMMANDS,
    JSON,
    NEVER_OVER_HTTP,
    Answer,
    OpenApiUnderTest,
    serving,
    submission,
)

from dockgate_server.errors import Reason, unavailable
from dockgate_server.model.caller import Scope

BODY = orjson.dumps(submission())
NO_ID = "00000000-0000-0000-0000-000000000000"
REQUEST = f"/api/v1/open/device-requests/{NO_ID}"

Provocation = Callable[[OpenApiUnderTest, pytest.MonkeyPatch], Awaitable[Answer]]

TABLE: Mapping[str, int] = {
    "INVALID_REQUEST_BODY": 400,
    "VALIDATION_FAILED": 400,
    "UNSUPPORTED_VENDOR": 400,
    "UNSUPPORTED_COMMAND": 400,
    "UNAUTHORIZED": 401,
    "SIGNATURE_INVALID": 401,
    "TIMESTAMP_EXPIRED": 401,
    "NONCE_REPLAYED": 401,
    "FORBIDDEN": 403,
    "COMMAND_NOT_FOUND": 404,
    "DEVICE_NOT_FOUND": 404,
    "DEVICE_REQUEST_NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "NOT_FOUND": 404,
    "IDEMPOTENCY_CONFLICT": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "UNAVAILABLE": 503,
}
"""As the contract has it."""
OURS = {"DEVICE_REQUEST_CLOSED": 409}
"""Of what the contract leaves open: a second, different answer to a device."""
PROVOKED: dict[str, Provocation] = {}
LIMITS = {"RATE_LIMITED": {"requests_per_second": 0.01, "requests_at_once": 1}}
"""By row, what callers may use at most; without any, as much as they like."""


def provokes(reason: Reason) -> Callable[[Provocation], Provocation]:
    """Say what a provocation is for."""

    def noted(provocation: Provocation) -> Provocation:
        PROVOKED[reason.value] = provocation
        return provocation

    return noted


@provokes(Reason.INVALID_REQUEST_BODY)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(b"[]")


@provokes(Reason.VALIDATION_FAILED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(submission(device_id=...))


@provokes(Reason.UNSUPPORTED_VENDOR)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(submission(vendor="acme"))


@provokes(Reason.UNSUPPORTED_COMMAND)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(submission(command_type="no_such_method"))


@provokes(Reason.UNAUTHORIZED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.send("POST", COMMANDS, JSON, BODY)


@provokes(Reason.SIGNATURE_INVALID)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(BODY, X_Api_Signature="0" * 64)


@provokes(Reason.TIMESTAMP_EXPIRED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(BODY, X_Api_Timestamp="1")


@provokes(Reason.NONCE_REPLAYED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    headers = JSON | api.sign("POST", COMMANDS, BODY)
    await api.send("POST", COMMANDS, headers, BODY)
    return await api.send("POST", COMMANDS, headers, BODY)


@provokes(Reason.FORBIDDEN)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(BODY, key=await api.keys.create("reader", scopes={Scope.READ}))


@provokes(Reason.COMMAND_NOT_FOUND)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.get(f"{COMMANDS}/{NO_ID}")


@provokes(Reason.DEVICE_NOT_FOUND)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(submission(device_id="drone-999"))


@provokes(Reason.DEVICE_REQUEST_NOT_FOUND)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.get(REQUEST, await api.keys.create(scopes={Scope.REQUESTS_READ}))


@provokes(Reason.DEVICE_REQUEST_CLOSED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    key = await api.keys.create(scopes={Scope.REQUESTS_CREATE})
    await api.device_asks(NO_ID)
    answer = None
    for body in (b'{"reply_code":0}', b'{"reply_code":1}'):
        headers = JSON | api.sign("POST", f"{REQUEST}/reply", body, key)
        answer = await api.send("POST", f"{REQUEST}/reply", headers, body)
    assert answer is not None
    return answer


@provokes(Reason.METHOD_NOT_ALLOWED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.send("DELETE", COMMANDS, {})


@provokes(Reason.NOT_FOUND)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.send("GET", "/nowhere", {})


@provokes(Reason.IDEMPOTENCY_CONFLICT)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    await api.post(BODY)
    return await api.post(submission(payload={"payload_index": "53-0-0"}))


@provokes(Reason.PAYLOAD_TOO_LARGE)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(BODY + b" " * 262_144)


@provokes(Reason.UNSUPPORTED_MEDIA_TYPE)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    return await api.post(BODY, Content_Type="text/plain")


@provokes(Reason.RATE_LIMITED)
async def _(api: OpenApiUnderTest, _: pytest.MonkeyPatch) -> Answer:
    await api.post(BODY)
    return await api.post(BODY)


@provokes(Reason.INTERNAL_ERROR)
async def _(api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> Answer:
    async def broken(*_: object) -> None:
        raise RuntimeError("the inner workings")

    monkeypatch.setattr(api.commands, "submit", broken)
    return await api.post(BODY)


@provokes(Reason.UNAVAILABLE)
async def _(api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> Answer:
    def full(*_: object) -> None:
        raise unavailable("the disk is full")

    monkeypatch.setattr(api.store, "accept", full)
    return await api.post(BODY)


def test_every_row_and_every_reason_is_provoked() -> None:
    """A reason without a row, or a row without a provocation, is noticed."""
    reasons = {reason.value: reason.http_status for reason in set(Reason) - NEVER_OVER_HTTP}
    assert reasons == {**TABLE, **OURS}
    assert set(PROVOKED) == set(reasons)


@pytest.mark.parametrize("code", [*TABLE, *OURS])
async def test_a_row_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Status, code, a sentence, and one id in the body, the header and the log."""
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        async with serving(tmp_path, limits=LIMITS.get(code)) as api:
            answer = await PROVOKED[code](api, monkeypatch)
    assert (answer.status, answer.code) == ({**TABLE, **OURS}[code], code)
    assert answer.body["message"]
    assert set(answer.body) <= {"code", "message", "request_id", "details", "metadata"}
    assert ("details" in answer.body) == (code == "VALIDATION_FAILED")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"] == answer.body["request_id"]
    assert ("Retry-After" in answer.headers) == (answer.status in (429, 503))
    assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
    assert ("Allow" in answer.headers) == (answer.status == 405)
    assert [line for line in logs if line.get("request_id") == answer.body["request_id"]]
