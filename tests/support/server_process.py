"""`dockgate serve` as a process of its own, for what would disturb the tests' own process."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub

_LIMIT_SECONDS = 30


@dataclass
class ServerProcess:
    """A server that is ready, and a client of it."""

    process: asyncio.subprocess.Process
    address: str
    """Where it listens for gRPC."""
    http_address: str
    channel: grpc.aio.Channel
    stub: Any
    log: list[dict[str, Any]] = field(default_factory=list)
    """What it has logged so far."""

    def events(self) -> list[str]:
        """What the log is about, in order."""
        return [entry["event"] for entry in self.log]


@asynccontextmanager
async def serving(broker_url: str, database: Path, *options: str) -> AsyncIterator[ServerProcess]:
    """A server on ports of its own; ended politely, unless it has been killed."""
    process = await _start(broker_url, database, *options)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_LIMIT_SECONDS):
            ready = json.loads(await process.stdout.readline())
        async with grpc.aio.insecure_channel(ready["grpc_address"]) as channel:
            stub = CommandServiceStub(channel)
            addresses = ready["grpc_address"], ready["http_address"]
            server = ServerProcess(process, *addresses, channel, stub)
            reading = asyncio.create_task(_read(process, server.log), name="server-log")
            yield server
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(_LIMIT_SECONDS):
                await reading
                # To kill a process that is just ending takes its exit code from who waits for it.
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def refused(database: Path) -> tuple[int, str]:
    """The exit code and the words of a server that does not start."""
    process = await _start("mqtt://127.0.0.1:1", database)
    async with asyncio.timeout(_LIMIT_SECONDS):
        _, words = await process.communicate()
    assert process.returncode is not None
    return process.returncode, words.decode()


async def served_unread(database: Path) -> tuple[int, list[str]]:
    """The exit code and the log of a server whose standard output nobody reads.

    It is ended politely once it has said that it serves.
    """
    reading, writing = os.pipe()
    os.close(reading)
    process = await _start("mqtt://127.0.0.1:1", database, stdout=writing)
    os.close(writing)
    assert process.stderr is not None
    events: list[str] = []
    async with asyncio.timeout(_LIMIT_SECONDS):
        while line := await process.stderr.readline():
            events.append(json.loads(line)["event"])
            if events[-1] == "audit_head":  # behind that it says that it serves, and waits
                process.terminate()
        return await process.wait(), events


async def _start(
    broker_url: str, database: Path, *options: str, stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    settings = {
        "MQTT__URL": broker_url,
        "GRPC__LISTEN": "127.0.0.1:0",
        "HTTP__LISTEN": "127.0.0.1:0",
        "STORE__PATH": str(database),
        "LOG__FORMAT": "json",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "dockgate_server", "serve", "--json", *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **{f"DOCKGATE_{name}": value for name, value in settings.items()}},
    )


async def _read(process: asyncio.subprocess.Process, log: list[dict[str, Any]]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        log.append(json.loads(line))
