"""Connections to a port where TLS is spoken: counted from the first moment, and given back."""

import asyncio
import errno
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support import certificates
from support.log import Log
from support.open_api import OpenApiUnderTest, serving

from dockgate_server.errors import CannotListen
from dockgate_server.http import door
from dockgate_server.http.connections import Connections
from dockgate_server.http.server import HttpServer

REQUEST = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HELLO = b"\x16\x03\x01"


@asynccontextmanager
async def over_tls(folder: Path, **settings: Any) -> AsyncIterator[OpenApiUnderTest]:
    """The open API over TLS; at most 10 s."""
    certificate, key = certificates.write(folder / "tls")
    async with asyncio.timeout(10):
        async with serving(folder, tls_certificate=certificate, tls_key=key, **settings) as api:
            yield api


@asynccontextmanager
async def connected(
    api: OpenApiUnderTest, *, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which nothing has been said, or only TLS."""
    host, port = api.server.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has ended the connection; whether it said nothing."""
    try:
        return not await reader.read()
    except ConnectionError:
        return True


async def asked(folder: Path, api: OpenApiUnderTest, source: str = "127.0.0.1") -> bytes:
    """The first line of what a client is answered that speaks TLS; empty when it is turned away."""
    trusting = ssl.create_default_context(cafile=folder / "tls" / "certificate.pem")
    try:
        async with connected(api, tls=trusting, source=source) as (reader, writer):
            writer.write(REQUEST)
            return await reader.readline()
    except OSError:
        return b""


def counted(server: HttpServer) -> Connections:
    """Where connections are counted."""
    assert server._runner is not None
    connections = server._runner.server
    assert isinstance(connections, Connections)
    return connections


async def none_is_open(api: OpenApiUnderTest) -> None:
    """Wait until all places have been given back; the server hears by and by who has gone."""
    while counted(api.server).open:  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.005)


async def test_who_connects_and_says_nothing_holds_a_place(tmp_path: Path, log: Log) -> None:
    """One too many is closed before TLS is spoken; there is room again when one has gone."""
    async with over_tls(tmp_path, max_connections=3) as api:
        async with AsyncExitStack() as opened:
            for _ in range(3):
                await opened.enter_async_context(connected(api))
            for _ in range(3):
                async with connected(api) as (reader, _):
                    assert await is_closed(reader)
            assert await asked(tmp_path, api) == b""
        await none_is_open(api)
        assert await asked(tmp_path, api) == b"HTTP/1.1 404 Not Found\r\n"
    lines = [line for line in log if line["event"] == "limit_reached"]
    assert [(line["limit"], line["who"]) for line in lines] == [
        ("http.max_connections", "127.0.0.1")
    ]


async def test_nothing_is_made_for_a_connection_that_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TLS is spoken it is only closed."""
    made = []
    make = Connections.__call__

    def making(self: Connections) -> Any:
        made.append(self)
        return make(self)

    monkeypatch.setattr(Connections, "__call__", making)
    async with over_tls(tmp_path, max_connections=1) as api, connected(api):
        for _ in range(3):
            async with connected(api) as (reader, _):
                assert await is_closed(reader)
    assert len(made) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="has not all addresses of the loopback")
async def test_one_address_cannot_take_all_places_by_silence(tmp_path: Path) -> None:
    """Somebody else is served."""
    async with (
        over_tls(tmp_path, max_connections_per_address=1) as api,
        connected(api),
    ):
        assert await asked(tmp_path, api) == b""
        assert await asked(tmp_path, api, "127.0.0.2") == b"HTTP/1.1 404 Not Found\r\n"


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"", HELLO])
async def test_a_handshake_that_fails_gives_its_place_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    """No TLS, nothing at all, or half of it; whether the client or the time ends it."""
    async with over_tls(tmp_path, head_seconds=0.1) as api:
        async with connected(api) as (reader, writer):
            writer.write(said)
            await reader.read()
        await none_is_open(api)
        async with connected(api) as (_, writer):
            writer.write(said)
        await none_is_open(api)
    assert caplog.records == []


async def test_a_connection_that_was_served_gives_its_place_back(tmp_path: Path) -> None:
    """Once, however it ends."""
    async with over_tls(tmp_path, max_connections=1) as api:
        for _ in range(3):
            assert await asked(tmp_path, api) == b"HTTP/1.1 404 Not Found\r\n"
            await none_is_open(api)


async def test_a_stop_ends_handshakes_that_are_under_way(tmp_path: Path) -> None:
    """Nobody waits for them, and nobody keeps the port."""
    async with over_tls(tmp_path) as api, connected(api) as (reader, writer):
        writer.write(HELLO)
        connections = counted(api.server)
        while not connections.open:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.005)
        async with asyncio.timeout(2):
            await api.server.__aexit__(None, None, None)
        assert await is_closed(reader)
        assert not connections.open
        with pytest.raises(ConnectionRefusedError):
            async with connected(api):
                pass


async def test_the_door_opens_again_when_the_system_has_sockets_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Meanwhile those who come wait; the log says why, once for each pause."""
    monkeypatch.setattr(door, "_PAUSE_SECONDS", 0.01)
    problems = [OSError(errno.EMFILE, "too many open files")] * 2
    accept = socket.socket.accept

    def accepting(self: socket.socket) -> Any:
        if problems:
            raise problems.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", accepting)
    async with over_tls(tmp_path) as api:
        assert await asked(tmp_path, api) == b"HTTP/1.1 404 Not Found\r\n"
    assert [line["event"] for line in log].count("http_cannot_accept") == 2


@pytest.fixture
async def listened(monkeypatch: pytest.MonkeyPatch, refused: dict[int, int]) -> list[int]:
    """The ports that were listened on, one for each address of localhost where that went well.

    Those of a family in ``refused`` cannot be listened on, for that reason.
    """
    create = socket.create_server
    ports: list[int] = []

    def creating(address: Any, *, family: int, **options: Any) -> socket.socket:
        if family in refused:
            raise OSError(refused[family], os.strerror(refused[family]))
        # Both are this one, as not every machine has IPv6.
        address = ("127.0.0.1" if family == socket.AF_INET else "127.0.0.2", address[1])
        listening = create(address, family=socket.AF_INET, **options)
        ports.append(listening.getsockname()[1])
        return listening

    async def found(*_: Any, **__: Any) -> list[Any]:
        both = ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
        return [(family, socket.SOCK_STREAM, 6, "", (host, 0)) for family, host in both]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    monkeypatch.setattr(socket, "create_server", creating)
    return ports


@pytest.mark.skipif(sys.platform != "linux", reason="has not all addresses of the loopback")
@pytest.mark.parametrize(
    ("refused", "addresses"),
    [
        ({}, 2),
        ({socket.AF_INET6: errno.EAFNOSUPPORT}, 1),
        # IPv6 is there, but switched off.
        ({socket.AF_INET6: errno.EADDRNOTAVAIL}, 1),
        ({socket.AF_INET: errno.EAFNOSUPPORT}, 1),
    ],
)
async def test_a_name_is_listened_to_on_each_of_its_addresses_that_can_be(
    tmp_path: Path, listened: list[int], addresses: int
) -> None:
    """All on one port."""
    async with serving(tmp_path, listen="localhost:0") as api:
        port = int(api.server.address.rpartition(":")[2])
    assert listened == [port] * addresses


@pytest.mark.parametrize(
    "refused",
    [
        {socket.AF_INET: errno.EAFNOSUPPORT, socket.AF_INET6: errno.EAFNOSUPPORT},
        {socket.AF_INET: errno.EAFNOSUPPORT, socket.AF_INET6: errno.EADDRNOTAVAIL},
        {socket.AF_INET: errno.EADDRNOTAVAIL},
        {socket.AF_INET6: errno.EADDRINUSE},
    ],
)
async def test_a_name_of_which_an_address_is_taken_or_none_can_be_had_is_refused(
    tmp_path: Path, listened: list[int]
) -> None:
    """A server that nobody can reach, or only some, would seem to be well."""
    with pytest.raises(CannotListen):
        async with serving(tmp_path, listen="localhost:0"):
            pass
