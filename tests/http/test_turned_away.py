"""Connections that are told why they are not served, and then wait for their client to read it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from support.open_api import OpenApiUnderTest, serving

from dockgate_server.http import connections
from dockgate_server.http.connections import Connections


@asynccontextmanager
async def connected(
    api: OpenApiUnderTest,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection; at most 10 s."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*api.server.address.split(":"))
        try:
            yield reader, writer
        finally:
            writer.close()


async def none_lingers(api: OpenApiUnderTest) -> None:
    """Wait until the server has seen that all who were turned away have gone."""
    assert api.server._runner is not None
    server = api.server._runner.server
    assert isinstance(server, Connections)
    async with asyncio.timeout(10):
        while server.lingering:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.005)


async def test_who_has_gone_makes_room_for_others_to_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come one after another, each hears why."""
    monkeypatch.setattr(connections, "_MOST_LINGERING", 2)
    async with serving(tmp_path, max_connections=1) as api, connected(api):
        for _ in range(5):
            async with connected(api) as (reader, _writer):
                assert b" 503 " in await reader.readline()
            await none_lingers(api)


@pytest.mark.parametrize("more", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 50_000])
async def test_what_is_sent_after_the_answer_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: bytes
) -> None:
    """A request, or a head that is too large: there is one answer, and it was given."""
    monkeypatch.setattr(connections, "LINGERING_SECONDS", 0.2)
    async with serving(tmp_path, max_connections=1) as api, connected(api):
        async with connected(api) as (reader, writer):
            answer = await reader.readuntil(b"}")
            writer.write(more)
            # It may be closed with something unread.
            with suppress(ConnectionError):
                answer += await reader.read()
            assert answer.count(b"HTTP/1.1 ") == 1
        await none_lingers(api)


async def test_a_head_that_is_too_large_is_not_also_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time would end while the client reads why it was refused."""
    monkeypatch.setattr(connections, "LINGERING_SECONDS", 0.5)
    async with serving(tmp_path, head_seconds=0.1) as api:
        async with connected(api) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 4000 + b"\r\n") * 5)
            answer = b""
            with suppress(ConnectionError):  # it may be closed with something unread
                answer = await reader.read()
                answer += await reader.read()
            assert answer.count(b"HTTP/1.1 ") == 1
        await none_lingers(api)


async def test_a_head_that_goes_on_being_too_large_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is counted once among those that linger, too."""
    monkeypatch.setattr(connections, "LINGERING_SECONDS", 0.2)
    async with serving(tmp_path) as api:
        async with connected(api) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n" + (b"X: " + b"x" * 4000 + b"\r\n") * 5)
            answer = await reader.readuntil(b"}")
            writer.write(b"x" * 50_000)
            # It may be closed with something unread.
            with suppress(ConnectionError):
                answer += await reader.read()
            assert answer.count(b"HTTP/1.1 ") == 1
        await none_lingers(api)
