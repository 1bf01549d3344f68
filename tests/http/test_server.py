"""The HTTP server around the endpoints: paths, verbs, ids, faults, TLS, stopping."""

import asyncio
import ssl
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import structlog
from support import certificates
from support.open_api import COMMANDS, JSON, OpenApiUnderTest, serving, submission

from dockgate_server.config import Http
from dockgate_server.errors import unavailable
from dockgate_server.http import connections
from dockgate_server.http.server import CannotListen, HttpServer

BODY = orjson.dumps(submission())


class Gate:
    """Holds the check of requests until it is opened."""

    def __init__(self, api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        proven = api.verifier.proven

        async def held(*asked: Any) -> Any:
            self.reached.set()
            await self.open.wait()
            return await proven(*asked)

        monkeypatch.setattr(api.verifier, "proven", held)


async def _raw(api: OpenApiUnderTest, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes; read the one response behind which the server closes."""
    reader, writer = await asyncio.open_connection(*api.server.address.split(":"))
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, orjson.loads(body)


@pytest.mark.parametrize(
    "path",
    ["/", "/favicon.ico", COMMANDS + "/", COMMANDS + "/a/b", "/api/v1/open/downlink/comm%61nds"],
)
async def test_unknown_path_is_not_found_without_a_signature(
    api: OpenApiUnderTest, path: str
) -> None:
    """Paths are compared as sent, which is how they are signed."""
    answer = await api.send("GET", path, {})
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", COMMANDS, "POST"),
        ("DELETE", COMMANDS, "POST"),
        ("OPTIONS", COMMANDS, "POST"),
        ("POST", f"{COMMANDS}/x", "GET"),
    ],
)
async def test_wrong_verb_is_told_the_right_one(
    api: OpenApiUnderTest, method: str, path: str, allowed: str
) -> None:
    """The path is right, so the answer says what can be done with it."""
    answer = await api.send(method, path, {})
    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == allowed
    assert answer.body["metadata"] == {"allowed": allowed}


async def test_head_is_answered_without_a_body(api: OpenApiUnderTest) -> None:
    """HEAD is not offered, and the refusal has no body, as HTTP wants it."""
    answer = await api.send("HEAD", f"{COMMANDS}/x", {})
    assert (answer.status, answer.body) == (405, {})


@pytest.mark.parametrize("given", ["req-1", "a b", "~" * 128])
async def test_sane_request_id_is_echoed(api: OpenApiUnderTest, given: str) -> None:
    """A caller finds its own id in the answer, in the header and in the body."""
    refused = await api.send("GET", "/", {"X-Request-Id": given})
    accepted = await api.post(BODY, X_Request_Id=given)
    for answer in (refused, accepted):
        assert answer.headers["X-Request-Id"] == answer.body["request_id"] == given


@pytest.mark.parametrize("given", [[], ["é"], ["x" * 129], ["a", "b"]])
async def test_request_id_is_made_where_none_can_be_used(
    api: OpenApiUnderTest, given: list[str]
) -> None:
    """Every answer has an id."""
    answer = await api.send("GET", "/", [("X-Request-Id", one) for one in given])
    assert answer.headers["X-Request-Id"] == answer.body["request_id"]
    assert uuid.UUID(answer.body["request_id"])


async def test_fault_of_ours_leaks_nothing_and_is_found_by_its_id(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets an id, the log gets the rest, and neither gets the request's content."""

    async def broken(*_: object) -> None:
        raise RuntimeError("the inner workings")

    monkeypatch.setattr(api.commands, "submit", broken)
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        answer = await api.post(BODY, X_Request_Id="find-me")
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert "inner" not in str(answer)
    [line] = [line for line in logs if line["event"] == "internal_error"]
    assert line["request_id"] == "find-me"
    assert str(line["exc_info"]) == "the inner workings"
    assert "39-0-7" not in str(logs)
    assert api.key.secret not in str(logs)


async def test_store_that_cannot_take_it_is_503_with_retry_after(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was accepted, and trying again is right."""

    def full(*_: object) -> Any:
        raise unavailable("the disk is full")

    monkeypatch.setattr(api.store, "accept", full)
    answer = await api.post(BODY)
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    assert await api.nothing_was_stored()


async def test_gateway_that_is_stopping_is_503(api: OpenApiUnderTest) -> None:
    """What comes while the gateway stops goes to the next one."""
    api.commands.stop_accepting()
    answer = await api.post(BODY)
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Api-Signature: " + b"0" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["nonsense", "long header", "many headers", "long line"],
)
async def test_what_is_not_http_gets_an_error_of_the_same_form(
    api: OpenApiUnderTest, request_: bytes
) -> None:
    """Also where there is no request to speak of, the answer is one that clients can read."""
    status, headers, body = await _raw(api, request_)
    assert (status, body["code"]) == (400, "INVALID_REQUEST_BODY")
    assert headers["X-Request-Id"] == body["request_id"]
    assert "aiohttp" not in str(headers)


async def test_whole_url_as_target_is_the_same_path(api: OpenApiUnderTest) -> None:
    """A client that believes it talks to a proxy is understood, as HTTP wants it."""
    signed = api.sign("GET", f"{COMMANDS}/x")
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    request = (
        f"GET http://dockgate.example{COMMANDS}/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    )
    status, _, body = await _raw(api, f"{request}{lines}\r\n".encode())
    assert (status, body["code"]) == (404, "COMMAND_NOT_FOUND")


async def test_client_that_goes_away_does_not_stop_its_submission(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission that has begun is carried through, so that the caller can find it again."""
    gate = Gate(api, monkeypatch)
    lost = asyncio.Event()
    connection_lost = connections.Connection.connection_lost

    def noted(self: Any, exc: BaseException | None) -> None:
        connection_lost(self, exc)
        lost.set()

    monkeypatch.setattr(connections.Connection, "connection_lost", noted)
    _, writer = await asyncio.open_connection(*api.server.address.split(":"))
    headers = {**JSON, **api.sign("POST", COMMANDS, BODY), "Content-Length": str(len(BODY))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST {COMMANDS} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + BODY)
    await gate.reached.wait()
    writer.close()
    await writer.wait_closed()
    await lost.wait()
    gate.open.set()
    [message] = await api.bridge.wait_published(1)
    assert await api.store.get_command("default", message.tid) is not None


async def test_stop_finishes_what_is_being_answered_and_takes_no_more(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller whose request was taken gets its answer; the next one is refused at the door."""
    gate = Gate(api, monkeypatch)
    in_progress = asyncio.create_task(api.post(BODY))
    await gate.reached.wait()
    stopping = asyncio.create_task(api.server.__aexit__(None, None, None))
    gate.open.set()
    assert (await in_progress).status == 202
    await stopping
    with pytest.raises(aiohttp.ClientConnectorError):
        await api.post(BODY)


async def test_stop_does_not_wait_for_ever(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that hangs is cut off when the limit is over, also a limit of 0."""
    gate = Gate(api, monkeypatch)
    other = HttpServer(Http(listen="127.0.0.1:0"), api.commands, api.verifier, 0)
    async with other:
        url = f"http://{other.address}{COMMANDS}"
        hanging = asyncio.create_task(api.session.post(url, data=BODY, headers=JSON))
        await gate.reached.wait()
    with pytest.raises(aiohttp.ClientConnectionError):
        await hanging


async def test_stopping_twice_and_without_a_start_is_fine(api: OpenApiUnderTest) -> None:
    """Whoever cleans up need not know how far the start came."""
    never = HttpServer(Http(listen="127.0.0.1:0"), api.commands, api.verifier, 0)
    for one in (never, api.server, api.server):
        await one.__aexit__(None, None, None)


async def test_port_in_use_is_one_clear_line(api: OpenApiUnderTest) -> None:
    """The problem names the address and the reason."""
    settings = Http(listen=api.server.address)
    with pytest.raises(CannotListen) as raised:
        await HttpServer(settings, api.commands, api.verifier, 0).__aenter__()
    assert str(raised.value) == (
        f"cannot listen for HTTP on {api.server.address} (http.listen): "
        "the port is in use, or the address is not this machine's"
    )


async def test_unreadable_tls_files_are_one_clear_line(
    api: OpenApiUnderTest, tmp_path: Path
) -> None:
    """A certificate that is none is said to be that before anything is served."""
    certificate, key = certificates.write(tmp_path / "tls")
    settings = Http(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
    certificate.write_text("nothing")
    with pytest.raises(CannotListen, match="TLS"):
        await HttpServer(settings, api.commands, api.verifier, 0).__aenter__()


async def test_tls_is_served_where_it_is_configured(tmp_path: Path) -> None:
    """With a certificate the API is spoken over TLS."""
    certificate, key = certificates.write(tmp_path / "tls")
    async with serving(tmp_path, tls_certificate=certificate, tls_key=key) as api:
        trusting = ssl.create_default_context(cafile=certificate)
        url = f"https://{api.server.address}/"
        async with api.session.get(url, ssl=trusting) as response:
            assert (await response.json())["code"] == "NOT_FOUND"
