"""Connections over real sockets: too many, too slow, too large; requests that are too many."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from support import certificates
from support.log import Log
from support.open_api import COMMANDS, JSON, OpenApiUnderTest, serving, submission

from dockgate_server.http import connections
from dockgate_server.limits.refusals import LOG_SECONDS, MOST_UNPROVEN_LINES

GET = f"GET {COMMANDS}/x HTTP/1.1\r\nHost: x\r\n".encode()
SLOW = {"head_seconds": 0.05}


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        """The next response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers["Content-Length"]))
        return int(first.split()[1]), headers, orjson.loads(body)

    async def ask(self) -> int:
        """The status of a whole request."""
        self.writer.write(GET + b"\r\n")
        return (await self.answer())[0]

    async def is_closed(self) -> bool:
        """Wait until the server has ended the connection; whether it said nothing."""
        try:
            return not await self.reader.read()
        except ConnectionError:
            return True


@asynccontextmanager
async def connected(api: OpenApiUnderTest, source: str = "127.0.0.1") -> AsyncIterator[Client]:
    """A connection to the server, on which nothing has been said; at most 10 s."""
    async with asyncio.timeout(10):
        host, port = api.server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_the_connection_after_the_last_is_told_that_there_are_too_many(
    tmp_path: Path, log: Log
) -> None:
    """Those that are there go on, and there is room again when one has gone."""
    async with serving(tmp_path, max_connections=3) as api, AsyncExitStack() as opened:
        held = [await opened.enter_async_context(connected(api)) for _ in range(3)]
        for one in held:
            assert await one.ask() == 401
        for _ in range(3):
            async with connected(api) as refused:
                status, headers, body = await refused.answer()
                assert (status, body["code"]) == (503, "UNAVAILABLE")
                assert headers["Connection"] == "close"
                assert int(headers["Retry-After"]) >= 1
                assert headers["X-Request-Id"] == body["request_id"]
        assert await held[0].ask() == 401
        held[1].writer.close()
        async with connected(api) as another:
            # The server hears of the end by itself; until then there is no room.
            assert await another.ask() in (401, 503)
        async with asyncio.timeout(5):
            while True:
                async with connected(api) as another:
                    if await another.ask() == 401:
                        break
    lines = [line for line in log if line["event"] == "limit_reached"]
    assert {line["limit"] for line in lines} == {"http.max_connections"}
    assert len(lines) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="has not all addresses of the loopback")
async def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    """Whoever holds connections open shuts out himself, and nobody else."""
    async with (
        serving(tmp_path, max_connections_per_address=2) as api,
        connected(api) as one,
        connected(api) as two,
    ):
        for held in (one, two):
            assert await held.ask() == 401
        async with connected(api) as refused:
            status, _, body = await refused.answer()
            assert status == 503
            assert "2 connections from your address" in body["message"]
        async with connected(api, source="127.0.0.2") as elsewhere:
            assert await elsewhere.ask() == 401


async def test_behind_a_proxy_all_may_come_from_one_address(tmp_path: Path) -> None:
    """It is the proxy's."""
    settings = {"max_connections_per_address": 1, "trusted_proxy": True}
    async with serving(tmp_path, **settings) as api, connected(api) as one, connected(api) as two:
        for held in (one, two):
            assert await held.ask() == 401


async def test_connections_that_are_turned_away_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not go by itself is waited for only as long as there are few of them."""
    monkeypatch.setattr("dockgate_server.http.connections._MOST_LINGERING", 2)
    async with serving(tmp_path, max_connections=1) as api, AsyncExitStack() as opened:
        await (await opened.enter_async_context(connected(api))).ask()
        for _ in range(2):
            staying = await opened.enter_async_context(connected(api))
            assert (await staying.answer())[0] == 503
        async with connected(api) as refused:
            assert await refused.is_closed()


async def test_a_connection_that_asks_nothing_is_closed_without_a_word(tmp_path: Path) -> None:
    """There is no request that an answer could belong to."""
    async with serving(tmp_path, **SLOW) as api, connected(api) as silent:
        assert await silent.is_closed()


@pytest.mark.parametrize("before", [0, 2])
async def test_a_head_that_drips_is_cut_off(tmp_path: Path, before: int) -> None:
    """The first one and any later one, however diligently the client goes on."""
    async with serving(tmp_path, **SLOW) as api, connected(api) as dripping:
        for _ in range(before):
            assert await dripping.ask() == 401

        async def drip() -> None:
            for byte in GET + b"X-Very-Long: " + b"x" * 4000:
                dripping.writer.write(bytes([byte]))
                await asyncio.sleep(0.005)

        dripper = asyncio.create_task(drip())
        status, _, body = await dripping.answer()
        dripper.cancel()
        assert (status, body["code"]) == (400, "INVALID_REQUEST_BODY")
        assert "0.05 s" in body["message"]


async def test_a_head_in_pieces_is_read_when_it_comes_in_time(tmp_path: Path) -> None:
    """Slow is not wrong; nor is it a larger head for those before it on the connection."""
    async with serving(tmp_path, max_head_bytes=1024) as api, connected(api) as client:
        for _ in range(5):
            for piece in (GET[:10], GET[10:], b"A: " + b"b" * 300, b"b\r", b"\n\r\n"):
                client.writer.write(piece)
                await client.writer.drain()
                for _ in range(5):
                    await asyncio.sleep(0)
            assert (await client.answer())[0] == 401


async def test_a_body_that_drips_is_cut_off(tmp_path: Path) -> None:
    """The limit is for the whole of it, not from one byte to the next."""
    async with serving(tmp_path, body_seconds=0.05) as api, connected(api) as dripping:
        lines = "".join(f"{name}: {value}\r\n" for name, value in JSON.items())
        head = f"POST {COMMANDS} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n{lines}\r\n"
        dripping.writer.write(head.encode())

        async def drip() -> None:
            for _ in range(4000):
                dripping.writer.write(b"x")
                await asyncio.sleep(0.005)

        dripper = asyncio.create_task(drip())
        status, _, body = await dripping.answer()
        dripper.cancel()
        assert (status, body["code"]) == (400, "INVALID_REQUEST_BODY")


async def test_a_connection_that_is_idle_behind_an_answer_is_closed(tmp_path: Path) -> None:
    """Keep-alive holds a place, so it has an end."""
    async with serving(tmp_path, idle_seconds=0.05) as api, connected(api) as idle:
        assert await idle.ask() == 401
        assert await idle.is_closed()


@pytest.mark.parametrize("first", [True, False])
async def test_a_connection_on_which_a_head_has_begun_is_not_idle(
    tmp_path: Path, first: bool
) -> None:
    """The head has its own time, and who is too slow is told so."""
    async with (
        serving(tmp_path, idle_seconds=0.1, head_seconds=0.3) as api,
        connected(api) as client,
    ):
        if not first:
            assert await client.ask() == 401
        client.writer.write(GET)
        status, _, body = await client.answer()
        assert (status, body["code"]) == (400, "INVALID_REQUEST_BODY")
        assert "within 0.3 s" in body["message"]


@pytest.mark.parametrize("whole", [True, False])
async def test_all_headers_together_have_a_limit(tmp_path: Path, whole: bool) -> None:
    """Each of them is short enough and they are few, but there is more than was agreed."""
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(20))
    async with serving(tmp_path) as api, connected(api) as client:
        client.writer.write(GET + headers + (b"\r\n" if whole else b"X-More: "))
        status, answered, body = await client.answer()
        assert (status, body["code"]) == (400, "INVALID_REQUEST_BODY")
        assert "16384 bytes" in body["message"]
        assert answered["Connection"] == "close"


async def test_many_small_heads_at_once_are_not_one_large_one(api: OpenApiUnderTest) -> None:
    """Pipelined requests are answered in their order, whatever they are together."""
    async with connected(api) as client:
        heads = [GET + f"X-Request-Id: r{number}\r\nX: ".encode() for number in range(40)]
        client.writer.write(b"".join(head + b"x" * 900 + b"\r\n\r\n" for head in heads))
        for number in range(40):
            status, headers, _ = await client.answer()
            assert (status, headers["X-Request-Id"]) == (401, f"r{number}")


async def test_the_number_of_headers_can_be_set(tmp_path: Path) -> None:
    """One more is refused."""
    async with serving(tmp_path, max_headers=8) as api, connected(api) as client:
        client.writer.write(GET + b"A: b\r\n" * 7 + b"\r\n")
        assert (await client.answer())[0] == 401
        client.writer.write(GET + b"A: b\r\n" * 8 + b"\r\n")
        assert (await client.answer())[0] == 400


async def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    """A client that says nothing to a TLS port, or drips, is closed as on a port without."""
    certificate, key = certificates.write(tmp_path)
    settings = {"tls_certificate": certificate, "tls_key": key, **SLOW}
    async with serving(tmp_path, **settings) as api, connected(api) as silent:
        assert await silent.is_closed()


async def test_a_client_that_does_not_read_its_answer_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold the connection, and the answer in memory, for as long as it likes."""
    async with serving(tmp_path, body_seconds=0.05) as api:
        large = b'{"large": "%s"}' % (b"x" * 20_000_000)
        response = api.server._api.handle

        async def handle(request: Any) -> Any:
            answer = await response(request)
            answer.body = large
            return answer

        lost = asyncio.Event()
        connection_lost = connections.Connection.connection_lost

        def noted(self: Any, exc: BaseException | None) -> None:
            connection_lost(self, exc)
            lost.set()

        monkeypatch.setattr(connections.Connection, "connection_lost", noted)
        monkeypatch.setattr(api.server._api, "handle", handle)
        async with connected(api) as client:
            client.writer.write(GET + b"\r\n")
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await lost.wait()


async def test_a_stop_waits_for_nobody_who_was_turned_away(tmp_path: Path) -> None:
    """Nor for connections that are idle, or in the middle of a head."""
    async with serving(tmp_path, max_connections=2) as api, AsyncExitStack() as opened:
        idle = await opened.enter_async_context(connected(api))
        halfway = await opened.enter_async_context(connected(api))
        assert await idle.ask() == 401
        halfway.writer.write(GET)
        turned_away = await opened.enter_async_context(connected(api))
        assert (await turned_away.answer())[0] == 503
        async with asyncio.timeout(2):
            await api.server.__aexit__(None, None, None)
        for one in (idle, halfway, turned_away):
            assert await one.is_closed()


async def test_who_sends_too_many_requests_is_told_when_to_come_again(
    tmp_path: Path, log: Log
) -> None:
    """Others are not touched, a token comes back with time, and the log is not flooded."""
    limits = {"requests_per_second": 0.5, "requests_at_once": 3}
    async with serving(tmp_path, limits=limits) as api:
        other = await api.keys.create("other")
        for _ in range(3):
            assert (await api.get(f"{COMMANDS}/x")).status == 404
        refused = await api.get(f"{COMMANDS}/x")
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
        assert refused.headers["Retry-After"] == "2"
        assert refused.body["metadata"] == {
            "limit": "limits.requests_per_second",
            "retry_after_seconds": "2",
        }
        assert (await api.get(f"{COMMANDS}/x", other)).status == 404
        for _ in range(10):
            assert (await api.get(f"{COMMANDS}/x")).status == 429
        assert [line["event"] for line in log].count("limit_reached") == 1
        assert len([line for line in log if line.get("code") == "RATE_LIMITED"]) == 0
        api.clock.advance(2)
        assert (await api.get(f"{COMMANDS}/x")).status == 404


async def test_a_flood_of_requests_of_nobody_makes_few_lines(tmp_path: Path, log: Log) -> None:
    """Signed by nobody, to nowhere, or no HTTP at all; one who is known has a line each time."""
    async with serving(tmp_path, limits={"requests_at_once": 100}) as api:
        for number in range(20):
            assert (await api.send("GET", f"{COMMANDS}/{number}", {})).status == 401
            assert (await api.send("GET", f"/{number}", {})).status == 404
            async with connected(api) as client:
                client.writer.write(b"what?\r\n\r\n")
                assert (await client.answer())[0] == 400
            assert (await api.get(f"{COMMANDS}/{number}")).status == 404
        kinds = [line["code"] for line in log]
        assert len(kinds) == 20 + MOST_UNPROVEN_LINES
        assert kinds.count("COMMAND_NOT_FOUND") == 20
        api.clock.advance(LOG_SECONDS)
        await api.send("GET", "/", {})
    assert log[-1]["left_out"] == 60 - MOST_UNPROVEN_LINES


async def test_a_request_that_was_too_many_may_be_sent_again_as_it_is(tmp_path: Path) -> None:
    """Its nonce was not used up; nothing was written."""
    async with serving(tmp_path, limits={"requests_per_second": 0.5, "requests_at_once": 1}) as api:
        await api.get(f"{COMMANDS}/x")
        body = orjson.dumps(submission())
        headers = {**JSON, **api.sign("POST", COMMANDS, body)}
        assert (await api.send("POST", COMMANDS, headers, body)).status == 429
        api.clock.advance(2)
        assert (await api.send("POST", COMMANDS, headers, body)).status == 202


async def test_nobody_can_use_up_the_requests_of_another(tmp_path: Path) -> None:
    """Neither by guessing at a signature nor by sending again what was sent once."""
    async with serving(
        tmp_path, limits={"requests_per_second": 0.01, "requests_at_once": 2}
    ) as api:
        body = orjson.dumps(submission())
        seen = {**JSON, **api.sign("POST", COMMANDS, body)}
        assert (await api.send("POST", COMMANDS, seen, body)).status == 202
        for _ in range(10):
            assert (await api.send("POST", COMMANDS, seen, body)).code == "NONCE_REPLAYED"
            forged = {**JSON, **api.sign("POST", COMMANDS, body), "X-Api-Signature": "0" * 64}
            assert (await api.send("POST", COMMANDS, forged, body)).code == "SIGNATURE_INVALID"
        assert (await api.get(f"{COMMANDS}/x")).status == 404


async def test_a_device_with_too_many_open_commands_is_429_and_a_repetition_is_not(
    tmp_path: Path,
) -> None:
    """The same refusal as over gRPC."""
    async with serving(tmp_path, limits={"open_commands_per_device": 1}) as api:
        assert (await api.post(submission())).status == 202
        refused = await api.post(submission(idempotency_key="key-2"))
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
        assert refused.body["metadata"]["limit"] == "limits.open_commands_per_device"
        assert refused.headers["Retry-After"] == "1"
        assert (await api.post(submission())).status == 200


FEW = {"requests_per_second": 0.01, "requests_at_once": 2}


async def test_queries_that_can_be_copied_cost_nobody_the_requests_that_cannot(
    tmp_path: Path,
) -> None:
    """Without a nonce a query is as good the second time, whoever sends it again."""
    async with serving(tmp_path, limits=FEW) as api:
        seen = api.sign("GET", f"{COMMANDS}/x", nonce="")
        answers = [await api.send("GET", f"{COMMANDS}/x", seen) for _ in range(5)]
        assert [one.status for one in answers] == [404, 404, 429, 429, 429]
        assert (await api.get(f"{COMMANDS}/x")).status == 404
        assert (await api.post(submission())).status == 202


async def test_an_emergency_goes_through_when_too_many_requests_were_sent(tmp_path: Path) -> None:
    """Nothing else does, and what was refused may be sent again as it is."""
    async with serving(tmp_path, limits=FEW) as api:
        for _ in range(2):
            await api.get(f"{COMMANDS}/x")
        home = submission(command_type="return_home", payload={})
        body = orjson.dumps(submission(idempotency_key="key-2"))
        headers = {**JSON, **api.sign("POST", COMMANDS, body)}
        assert (await api.send("POST", COMMANDS, headers, body)).status == 429
        assert (await api.post(home)).status == 202
        assert (await api.post(b"no JSON")).status == 429
        assert (await api.post(submission(command_type=["return_home"]))).status == 429
        api.clock.advance(100)
        assert (await api.send("POST", COMMANDS, headers, body)).status == 202


async def test_emergencies_have_a_limit_of_requests_too(tmp_path: Path) -> None:
    """As many again; a copy of one costs nothing of it."""
    async with serving(tmp_path, limits=FEW) as api:
        for _ in range(2):
            await api.get(f"{COMMANDS}/x")
        body = orjson.dumps(submission(command_type="return_home", payload={}))
        seen = {**JSON, **api.sign("POST", COMMANDS, body)}
        assert (await api.send("POST", COMMANDS, seen, body)).status == 202
        for _ in range(3):
            assert (await api.send("POST", COMMANDS, seen, body)).code == "NONCE_REPLAYED"
        assert [(await api.post(body)).status for _ in range(3)] == [200, 429, 429]
