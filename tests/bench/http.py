"""The HTTP shim beside an HTTP server that only echoes."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from chaos.processes import environment

from bench import bare, http2, throughput
from bench.plan import IN_FLIGHT, Plan, Result, Wanted
from bench.stage import DOCKS, SUBMIT, Bare, Stage
from dockgate_server.access.signature import signed_headers

COMMANDS: Final = "/api/v1/open/downlink/commands"
_SHARE: Final = 0.35
_OK: Final = (b"HTTP/1.1 200", b"HTTP/1.1 202")


async def key(database: str) -> tuple[str, str]:
    """A new API key in that database: its ID and its secret."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dockgate_server", "keys", "create", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment() | {"DOCKGATE_STORE__PATH": database},
    )
    out, _ = await process.communicate()
    made = json.loads(out)
    return made["api_id"], made["secret"]


async def measure(
    plan: Plan, stage: Stage, parts: Bare, api_key: tuple[str, str], result: Result
) -> None:
    """Rounds of echo, POST and GET."""
    echoes, posts, gets, lower = [], [], [], []
    for number in range(plan.rounds + 1):
        bodies = [_body(f"http-{number}-{one}") for one in range(plan.requests)]
        echo = [_request("POST", bare.HTTP_ECHO, body, {}) for body in bodies]
        echoes.append(await _rate(parts.http_address, echo))
        signed = [
            _signed(api_key, "POST", COMMANDS, body, f"{number}-{one}")
            for one, body in enumerate(bodies)
        ]
        answers: list[bytes] = []
        posts.append(await _rate(stage.http_address, signed, answers))
        submitted = list(throughput.submissions(f"grpc-{number}", plan.requests))
        seconds = await http2.calls(stage.server.address, SUBMIT, submitted, IN_FLIGHT)
        lower.append(min(_SHARE * echoes[-1], plan.requests / seconds))
        ids = [json.loads(answer)["command_id"] for answer in answers]
        asked = [_signed(api_key, "GET", f"{COMMANDS}/{one}", b"", "") for one in ids]
        gets.append(await _rate(stage.http_address, asked))
    echo_of = ("bare HTTP echo", echoes[1:])
    result.show("signed POST", posts[1:], "/s", echo_of)
    name = f"{_SHARE} × that, or SubmitCommand if lower"
    result.show("  the same", posts[1:], "/s", (name, lower[1:]), Wanted(1.0))
    result.show("signed GET", gets[1:], "/s", echo_of)


class _Caller(asyncio.Protocol):
    """One connection, over which one request after the other goes."""

    def __init__(self, requests: Any, answers: list[bytes], done: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._answers = answers
        self._done = done
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, _, body = self._buffer.partition(b"\r\n\r\n")
        if len(body) < _length(head):
            return
        self._buffer = b""
        if not head.startswith(_OK):
            self._done.set_exception(RuntimeError(f"an answer was {head!r} {body!r}"))
            self._transport.abort()
            return
        self._answers.append(body)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or RuntimeError("the server has hung up"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()


async def _rate(
    address: str, requests: Sequence[bytes], answers: list[bytes] | None = None
) -> float:
    """Requests a second, over as many connections as are in flight."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    left = iter(requests)
    taken: list[bytes] = [] if answers is None else answers
    dones = [loop.create_future() for _ in range(IN_FLIGHT)]
    began = time.monotonic()
    for done in dones:
        caller = _Caller(left, taken, done)
        await loop.create_connection(lambda caller=caller: caller, host, int(port))
    await asyncio.gather(*dones)
    return len(requests) / (time.monotonic() - began)


def _body(idempotency_key: str) -> bytes:
    content = {
        "vendor": "dji",
        "device_id": DOCKS[len(idempotency_key) % len(DOCKS)],
        "command_type": "camera_recording_start",
        "payload": {"payload_index": "39-0-7"},
        "idempotency_key": idempotency_key,
        "timeout_seconds": 60,
    }
    return json.dumps(content).encode()


def _signed(api_key: tuple[str, str], method: str, target: str, body: bytes, nonce: str) -> bytes:
    headers = signed_headers(
        api_id=api_key[0],
        secret=api_key[1],
        method=method,
        target=target,
        timestamp=int(time.time()),
        nonce=nonce,
        body=body,
    )
    return _request(method, target, body, headers)


def _request(method: str, target: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: bench"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
