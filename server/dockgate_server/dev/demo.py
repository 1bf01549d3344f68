"""The demonstration: one command over gRPC and one over signed HTTP, followed to their ends."""

import asyncio
import http.client
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate_server.access import signature
from dockgate_server.cli.problem import from_rpc_error
from dockgate_server.dev.paste import COMMANDS_PATH
from dockgate_server.dev.report import Report
from dockgate_server.dev.stack import DRONE, Key, Stack

METHOD = "camera_recording_start"
PAYLOAD = {"payload_index": "39-0-7"}
_SECONDS = 30.0
"""How long a call may take."""


class DemoProblem(Exception):
    """A call of the demonstration failed; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command of the demonstration ended."""

    command_id: str
    succeeded: bool


async def run(stack: Stack, report: Report) -> list[Outcome]:
    """Show both commands.

    Raises:
        DemoProblem: A call failed.
    """
    async with _connected(stack) as stub:
        client = _Client(stub, report)
        return [await client.over_grpc(), await client.over_http(stack)]


async def show_all(stack: Stack, report: Report) -> None:
    """Show what happens to all commands from now on; does not end by itself.

    Raises:
        DemoProblem: The watch failed.
    """
    async with _connected(stack) as stub:
        async for response in stub.WatchCommands(pb.WatchCommandsRequest()):
            if response.HasField("event"):
                report.later(response.event)


@asynccontextmanager
async def _connected(stack: Stack) -> AsyncIterator["pb_grpc.CommandServiceAsyncStub"]:
    # A proxy that the environment names cannot reach this machine's own ports.
    options = (("grpc.enable_http_proxy", 0),)
    async with aio.insecure_channel(stack.grpc_address, options=options) as channel:
        # The times shown are the command's, not the connection's.
        await asyncio.wait_for(channel.channel_ready(), _SECONDS)
        try:
            yield pb_grpc.CommandServiceStub(channel)
        except grpc.RpcError as error:
            raise DemoProblem(from_rpc_error(error, stack.grpc_address).message) from error


class _Client:
    def __init__(self, stub: "pb_grpc.CommandServiceAsyncStub", report: Report) -> None:
        self._stub = stub
        self._report = report

    async def over_grpc(self) -> Outcome:
        """Submit over gRPC and watch."""
        request = pb.SubmitCommandRequest(device_id=DRONE, idempotency_key=str(uuid.uuid4()))
        request.dji.camera_recording_start.payload_index = PAYLOAD["payload_index"]
        self._report.begin("gRPC", f"{METHOD} for {DRONE} over gRPC")
        started = time.perf_counter()
        response = await self._stub.SubmitCommand(request, timeout=_SECONDS)
        command_id = response.command.command_id
        self._report.step(started, "SubmitCommand", f"answered: command {command_id}")
        return await self._watch(command_id, started)

    async def over_http(self, stack: Stack) -> Outcome:
        """Submit over signed HTTP and watch."""
        body = {
            "vendor": "dji",
            "device_id": DRONE,
            "command_type": METHOD,
            "payload": PAYLOAD,
            "idempotency_key": str(uuid.uuid4()),
        }
        title = f"{METHOD} for {DRONE} over HTTP, signed with {stack.key.api_id}"
        self._report.begin("HTTP", title)
        started = time.perf_counter()
        status, answer = await asyncio.to_thread(_post, stack.ports.http, stack.key, body)
        if "command_id" not in answer:
            raise DemoProblem(f"POST {COMMANDS_PATH} answered {status}: {json.dumps(answer)}")
        command_id = answer["command_id"]
        self._report.step(started, "POST", f"answered {status}: command {command_id}")
        return await self._watch(command_id, started)

    async def _watch(self, command_id: str, started: float) -> Outcome:
        last = command_pb2.Command()
        request = pb.WatchCommandRequest(command_id=command_id)
        async for response in self._stub.WatchCommand(request):
            if response.HasField("event"):
                last = response.event.command
                self._report.event(started, response.event)
        self._report.end(started, last)
        return Outcome(command_id, last.status == command_pb2.COMMAND_STATUS_SUCCEEDED)


def _post(port: int, key: Key, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Send a signed POST; gives the status and the answer."""
    body = json.dumps(document).encode()
    headers = signature.signed_headers(
        api_id=key.api_id,
        secret=key.secret,
        method="POST",
        target=COMMANDS_PATH,
        timestamp=int(time.time()),
        nonce=secrets.token_hex(16),
        body=body,
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        headers["Content-Type"] = "application/json"
        connection.request("POST", COMMANDS_PATH, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DemoProblem(f"POST {COMMANDS_PATH} on port {port} failed: {error}") from error
    finally:
        connection.close()
