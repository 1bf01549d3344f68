"""Bodies that are too large, of the wrong type, broken, or not quite JSON."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from support.open_api import COMMANDS, JSON, OpenApiUnderTest, serving, submission
from support.raw_http import exchange, request

BODY = orjson.dumps(submission())


async def test_body_of_300_kib_is_too_large(api: OpenApiUnderTest) -> None:
    """The limit is 256 KiB, and the answer says so."""
    answer = await api.post(BODY + b" " * 300 * 1024)
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.body["metadata"] == {"limit_bytes": "262144"}
    assert await api.nothing_was_stored()


async def test_chunked_body_is_cut_off_at_the_same_limit(api: OpenApiUnderTest) -> None:
    """A body that does not say how large it is may not be larger for that."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    headers = JSON | api.sign("POST", COMMANDS, b" " * 300 * 1024)
    answer = await api.send("POST", COMMANDS, headers, chunks())
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert await api.nothing_was_stored()


async def test_body_of_exactly_the_limit_is_taken_also_in_chunks(api: OpenApiUnderTest) -> None:
    """The limit itself is allowed."""
    whole = BODY + b" " * (262_144 - len(BODY))

    async def chunks() -> AsyncIterator[bytes]:
        yield whole[:1000]
        yield whole[1000:]

    assert (await api.post(whole)).status == 202
    headers = JSON | api.sign("POST", COMMANDS, whole)
    assert (await api.send("POST", COMMANDS, headers, chunks())).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", None],
)
async def test_other_content_types_are_refused(
    api: OpenApiUnderTest, content_type: str | None
) -> None:
    """Only JSON in UTF-8 is taken, and a body must say that it is that."""
    headers = api.sign("POST", COMMANDS, BODY)
    if content_type is not None:
        headers["Content-Type"] = content_type
    answer = await api.send("POST", COMMANDS, headers, BODY)
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.body["metadata"] == {"content_type": content_type or ""}
    assert await api.nothing_was_stored()


async def test_a_content_type_that_is_no_text_is_refused(api: OpenApiUnderTest) -> None:
    """What comes back of it can be read."""
    headers = {"Content-Type": "app\udcd9/json", **api.sign("POST", COMMANDS, BODY)}
    [answer] = await exchange(api.server.address, request("POST", COMMANDS, headers.items(), BODY))
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.body["metadata"] == {"content_type": r"app\udcd9/json"}


async def test_charset_parameter_is_allowed(api: OpenApiUnderTest) -> None:
    """Many clients add it."""
    answer = await api.post(BODY, Content_Type="Application/JSON; charset=UTF-8")
    assert answer.status == 202


async def test_compressed_body_is_refused(api: OpenApiUnderTest) -> None:
    """Signed is what was sent, and a small body must not become a large one."""
    answer = await api.post(BODY, Content_Encoding="gzip")
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await api.nothing_was_stored()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (BODY.replace(b'"vendor":', b'"device_id":"dock-001","vendor":'), "device_id"),
        (
            BODY.replace(b'"payload_index":', b'"payload_index":"1","payload_index":'),
            "payload_index",
        ),
        (BODY.replace(b'"vendor":', b'"vend\\u006fr":"px4","vendor":'), "vendor"),
        (BODY.replace(b'"vendor":', b'"idempotency_key":"a:b","vendor":'), "idempotency_key"),
        (BODY.replace(b'"vendor":', b'"x":[{},{"list":1,"list":[":"]}],"vendor":'), "list"),
    ],
)
async def test_key_that_stands_twice_is_named(api: OpenApiUnderTest, body: bytes, key: str) -> None:
    """Two parsers would read such a body differently, and one of them flies."""
    answer = await api.post(body)
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST_BODY")
    assert key in answer.body["message"]
    assert await api.nothing_was_stored()


async def test_colons_in_texts_are_no_keys(api: OpenApiUnderTest) -> None:
    """Keys are counted by their colons first."""
    answer = await api.post(orjson.dumps(submission(idempotency_key='a:"b":{"b":1}')))
    assert answer.status == 202


async def test_client_that_waits_to_be_asked_is_asked(api: OpenApiUnderTest) -> None:
    """Curl sends large bodies only after a 100 Continue."""
    headers = JSON | api.sign("POST", COMMANDS, BODY) | {"Expect": "100-continue"}
    answer = await api.send("POST", COMMANDS, headers, BODY)
    assert answer.status == 202


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\n{}"])
async def test_body_that_breaks_off_or_is_wrongly_chunked_is_refused(
    api: OpenApiUnderTest, rest: bytes
) -> None:
    """The answer, if anybody still listens, is the caller's error and not ours."""
    reader, writer = await asyncio.open_connection(*api.server.address.split(":"))
    writer.write(
        f"POST {COMMANDS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
        + rest
    )
    writer.write_eof()
    answer = await reader.read()
    assert not answer or b"INVALID_REQUEST_BODY" in answer
    writer.close()
    await writer.wait_closed()
    assert await api.nothing_was_stored()


async def test_body_that_does_not_arrive_in_time_is_refused(tmp_path: Path) -> None:
    """A client that stops in the middle holds nothing for ever."""
    async with serving(tmp_path, body_seconds=0.02) as api:
        reader, writer = await asyncio.open_connection(*api.server.address.split(":"))
        writer.write(
            f"POST {COMMANDS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            "Content-Length: 100\r\n\r\n{".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 400 " in head.splitlines()[0]
        assert b"INVALID_REQUEST_BODY" in await reader.readuntil(b"}")
        writer.close()
        await writer.wait_closed()
