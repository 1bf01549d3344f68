"""Asking over HTTP what became of a command."""

import uuid

import orjson
import pytest
from support.open_api import COMMANDS, OpenApiUnderTest, submission
from support.records import an_accept

from dockgate_server.model.command import Job, JobState
from dockgate_server.model.reply import Reply
from dockgate_server.model.transitions import ConfirmDelivery, RecordJob, RecordReply


async def _submit(api: OpenApiUnderTest, **members: object) -> str:
    answer = await api.post(submission(**members))
    return str(answer.body["command_id"])


async def _deliver(api: OpenApiUnderTest, command_id: str) -> None:
    await api.store.apply(ConfirmDelivery(command_id, api.clock.now_ms()))


async def _reply(api: OpenApiUnderTest, command_id: str, raw: bytes) -> None:
    now = api.clock.now_ms()
    await api.store.apply(
        RecordReply(Reply("dock-001", command_id, None, orjson.loads(raw), raw, now))
    )


async def test_new_command_shows_no_field_that_has_no_value(api: OpenApiUnderTest) -> None:
    """A field is there when there is something to say, and never null."""
    command_id = await _submit(api)
    answer = await api.get(f"{COMMANDS}/{command_id}")
    assert answer.status == 200
    assert answer.body == {
        "command_id": command_id,
        "status": "ACCEPTED",
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": "camera_recording_start",
        "accepted_at": "2026-04-22T12:00:00.000Z",
        "updated_at": "2026-04-22T12:00:00.000Z",
        "request_id": answer.headers["X-Request-Id"],
    }


async def test_failed_example_of_the_platform_comes_out_field_by_field(
    api: OpenApiUnderTest,
) -> None:
    """A dock that says "camera busy" gives what the services-reply page shows."""
    command_id = await _submit(api)
    api.clock.advance(1)
    await _deliver(api, command_id)
    api.clock.advance(2)
    reply = b'{"result":5001,"code":5001,"message":"camera busy","detail":"busy"}'
    await _reply(api, command_id, reply)
    answer = await api.get(f"{COMMANDS}/{command_id}")
    assert answer.body == {
        "command_id": command_id,
        "status": "FAILED",
        "vendor": "dji",
        "device_id": "drone-001",
        "command_type": "camera_recording_start",
        "failure_code": "DEVICE_EXECUTION_FAILED",
        "failure_reason": "camera busy",
        "response_code": "5001",
        "response_message": "camera busy",
        "vendor_response": {
            "result": 5001,
            "code": 5001,
            "message": "camera busy",
            "detail": "busy",
        },
        "accepted_at": "2026-04-22T12:00:00.000Z",
        "delivered_at": "2026-04-22T12:00:01.000Z",
        "completed_at": "2026-04-22T12:00:03.000Z",
        "response_received_at": "2026-04-22T12:00:03.000Z",
        "updated_at": "2026-04-22T12:00:03.000Z",
        "request_id": answer.headers["X-Request-Id"],
    }


async def test_vendor_response_is_what_the_device_wrote(api: OpenApiUnderTest) -> None:
    """Numbers that a parser would round come out as they went in."""
    command_id = await _submit(api)
    raw = b'{"result":0,"output":{"serial":12345678901234567890123}}'
    await api.store.apply(
        RecordReply(Reply("dock-001", command_id, None, {"result": 0}, raw, api.clock.now_ms()))
    )
    target = f"{COMMANDS}/{command_id}"
    url = f"http://{api.server.address}{target}"
    async with api.session.get(url, headers=api.sign("GET", target)) as response:
        assert b'"vendor_response":' + raw in await response.read()


async def test_job_is_shown_beside_the_status(api: OpenApiUnderTest) -> None:
    """A command that started a job is SUCCEEDED, and the job's course is a second thing."""
    command_id = await _submit(
        api,
        command_type="fileupload_start",
        payload={
            "bucket": "b",
            "region": "r",
            "credentials": {
                "access_key_id": "i",
                "access_key_secret": "s",
                "expire": 3600,
                "security_token": "t",
            },
            "endpoint": "https://example.com",
            "provider": "ali",
            "params": {"files": [{"list": [], "module": "0", "object_key": "k"}]},
        },
    )
    await _reply(api, command_id, b'{"result":0}')
    answer = await api.get(f"{COMMANDS}/{command_id}")
    assert answer.body["status"] == "SUCCEEDED"
    assert "job" not in answer.body
    api.clock.advance(0.5)
    job = Job(JobState.IN_PROGRESS, api.clock.now_ms(), percent=0, step="upload")
    recorded = await api.store.apply(RecordJob("dock-001", ("fileupload_start",), command_id, job))
    assert recorded
    answer = await api.get(f"{COMMANDS}/{command_id}")
    assert answer.body["job"] == {
        "state": "IN_PROGRESS",
        "percent": 0,
        "step": "upload",
        "updated_at": "2026-04-22T12:00:00.500Z",
    }


@pytest.mark.parametrize(
    ("model", "words"), [("3-1-0", "Waiting for flight system"), ("3-2-0", "Remote link pairing")]
)
async def test_the_step_of_a_job_is_told_in_the_words_of_the_dock(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch, model: str, words: str
) -> None:
    """Which that is, is known by its topology."""
    accept = an_accept(command_type="flighttask_execute", job_key="flight-1")
    await api.store.accept(accept)
    await _reply(api, accept.id, b'{"result":0}')
    job = Job(JobState.IN_PROGRESS, api.clock.now_ms(), percent=5, step="8")
    await api.store.apply(RecordJob("dock-001", ("flighttask_execute",), "flight-1", job))
    monkeypatch.setattr(api.commands, "model_of", {"dock-001": model}.__getitem__)
    answer = await api.get(f"{COMMANDS}/{accept.id}")
    assert answer.body["job"]["step_message"] == words


@pytest.mark.parametrize(
    "command_id",
    [
        "03fb4905-d3cf-68b0-36fc-36975d618724",
        "not-a-uuid",
        "x" * 1000,
        "%2e%2e",
        "03fb4905d3cf68b036fc36975d618724",
    ],
)
async def test_unknown_and_malformed_ids_are_not_found(
    api: OpenApiUnderTest, command_id: str
) -> None:
    """What names no command is not found, whatever it looks like."""
    answer = await api.get(f"{COMMANDS}/{command_id}")
    assert (answer.status, answer.code) == (404, "COMMAND_NOT_FOUND")


async def test_command_of_another_tenant_does_not_exist(api: OpenApiUnderTest) -> None:
    """Nobody learns of a stranger's command, not even that there is one."""
    command_id = await _submit(api)
    stranger = await api.keys.create(tenant="another")
    answer = await api.get(f"{COMMANDS}/{command_id}", key=stranger)
    assert (answer.status, answer.code) == (404, "COMMAND_NOT_FOUND")
    assert (await api.get(f"{COMMANDS}/{command_id}")).status == 200


async def test_principal_of_a_command_is_the_api_id(api: OpenApiUnderTest) -> None:
    """The record says which key submitted it."""
    command_id = await _submit(api)
    command = await api.store.get_command("default", command_id)
    assert command is not None
    assert command.principal == api.key.key.api_id
    assert uuid.UUID(command.id)
