"""What gRPC would refuse by itself is refused in our way: named, audited, and in few lines."""

import asyncio
import codecs
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from structlog.testing import capture_logs
from support import audit, raw_grpc
from support.clock import ManualClock
from support.core import Core
from support.log import Log
from support.secured import Refusal, Secured, bearer, secured

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.audit import Audit
from dockgate_server.config import Grpc
from dockgate_server.config.limits import LimitsSection
from dockgate_server.errors import unavailable
from dockgate_server.limits import Limits
from dockgate_server.limits.refusals import LOG_SECONDS, MOST_UNPROVEN_LINES
from dockgate_server.model.caller import LOCAL
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer

CODE = grpc.StatusCode
COMMANDS = "/dockgate.downlink.v1.CommandService"
HEALTH = "/grpc.health.v1.Health"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NO_MESSAGE = b"\xff\xff"
REQUEST_SECONDS = 30.0


@pytest.fixture
def clock() -> ManualClock:
    """Stands still."""
    return ManualClock()


@pytest.fixture
def told() -> list[Refusal]:
    """The refusals that the audit log hears of."""
    return []


@pytest.fixture
async def server(core: Core, clock: ManualClock, told: list[Refusal]) -> AsyncIterator[RpcServer]:
    """A server without TLS, which everybody on this machine may use."""
    server = RpcServer(
        Grpc(listen="127.0.0.1:0"),
        core.commands,
        Health(),
        stop_seconds=5,
        clock=clock,
        refused=lambda *one: told.append(Refusal(*one[:4], one[4].reason)),
    )
    async with server:
        yield server
        core.hub.close()


@contextlib.asynccontextmanager
async def channel_to(tls: Secured, token: str = "") -> AsyncIterator[grpc.aio.Channel]:
    """A connection, with an API key in its calls where one is given."""
    credentials = grpc.ssl_channel_credentials(tls.authority.certificate.read_bytes())
    if token:
        calls = grpc.access_token_call_credentials(token)
        credentials = grpc.composite_channel_credentials(credentials, calls)
    async with grpc.aio.secure_channel(tls.server.address, credentials) as channel:
        yield channel


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The error with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(10):
            await (call.read() if hasattr(call, "read") else call)
    return caught.value


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in the details; every refusal has a request id too."""
    assert [name for name, _ in error.trailing_metadata()].count("x-request-id") == 1
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def unary(channel: grpc.aio.Channel, path: str, message: bytes = b"") -> Any:
    return channel.unary_unary(path)(message)


def streaming(channel: grpc.aio.Channel, path: str, message: bytes = b"") -> Any:
    return channel.unary_stream(path)(message)


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (unary, f"{COMMANDS}/SubmitCommand"),
        (streaming, f"{COMMANDS}/WatchCommand"),
        (unary, f"{HEALTH}/Check"),
        (streaming, f"{HEALTH}/Watch"),
        (streaming, REFLECTION),
    ],
)
async def test_a_message_that_cannot_be_read_is_invalid(
    channel: grpc.aio.Channel, told: list[Refusal], log: Log, call: Any, path: str
) -> None:
    """Nothing of the server's inside shows, and the audit log hears of it."""
    error = await refused(call(channel, path, NO_MESSAGE))
    assert (error.code(), reason_of(error)) == (CODE.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert "Request" in (error.details() or "")
    assert not any(word in (error.details() or "") for word in ("Error", "google", "class"))
    rpc = path.rpartition("/")[2]
    assert [(one.rpc, one.reason) for one in told] == [(rpc, "VALIDATION_FAILED")]
    local = LOCAL._replace(origin=told[0].origin)
    assert told[0].caller == (None if path.startswith("/grpc.") else local)
    assert [(line["event"], line["rpc"]) for line in log] == [("grpc_refused", rpc)]


async def test_a_call_that_is_refused_for_now_is_told_of_and_a_watch_that_ends_so_is_not(
    core: Core, server: RpcServer, channel: grpc.aio.Channel, told: list[Refusal]
) -> None:
    """The watch is to be taken up again; the call was not answered."""
    watch = streaming(channel, f"{COMMANDS}/WatchCommands")
    await watch.read()
    core.hub.close()
    assert (await refused(watch)).code() is CODE.UNAVAILABLE
    assert told == []

    async def full(*_: Any) -> Any:
        raise unavailable("the disk is full")

    core.commands.list = full  # type: ignore[method-assign]
    assert (await refused(unary(channel, f"{COMMANDS}/ListCommands"))).code() is CODE.UNAVAILABLE
    assert [(one.rpc, one.reason) for one in told] == [("ListCommands", "UNAVAILABLE")]


async def test_who_is_not_known_gets_no_hint_about_the_message(tls: Secured) -> None:
    """The same answer, whatever the message is; also when it never comes."""
    for wrap in ("SubmitCommand", "WatchCommand"):
        async with channel_to(tls) as channel:
            path = f"{COMMANDS}/{wrap}"
            silent = channel.stream_stream(path)()
            calls = [streaming(channel, path), streaming(channel, path, NO_MESSAGE), silent]
            errors = [await refused(call) for call in calls]
        assert {(one.code(), one.details()) for one in errors} == {
            (CODE.UNAUTHENTICATED, errors[0].details())
        }
    assert {(one.caller, one.reason) for one in tls.refusals} == {(None, "UNAUTHORIZED")}


async def test_whose_message_is_broken_is_in_the_audit_log(tls: Secured) -> None:
    """And the call counts against the limit, as every call does."""
    key = await tls.keys.create("test", tenant="acme")
    async with channel_to(tls, bearer(key)) as channel:
        error = await refused(unary(channel, f"{COMMANDS}/GetCommand", NO_MESSAGE))
    assert error.code() is CODE.INVALID_ARGUMENT
    (one,) = tls.refusals
    assert one.caller is not None
    assert (one.caller.tenant, one.caller.principal) == ("acme", key.key.api_id)
    assert (one.rpc, len(tls.taken)) == ("GetCommand", 1)


@pytest.mark.parametrize(
    "path",
    [
        f"{COMMANDS}/SubmitCommands",
        "/dockgate.downlink.v2.CommandService/SubmitCommand",
        f"{COMMANDS}",
        f"{COMMANDS}/SubmitCommand/",
        "//",
        "/x/\x01\x1b[31m",
        "/x/\u202e",
        "/" + "x" * 3000,
    ],
)
async def test_what_is_not_there_is_unimplemented(
    channel: grpc.aio.Channel, told: list[Refusal], log: Log, path: str
) -> None:
    """With our reason; of the path as much is told as can be read."""
    error = await refused(unary(channel, path))
    assert (error.code(), reason_of(error)) == (CODE.UNIMPLEMENTED, "NOT_FOUND")
    details = error.details() or ""
    assert details.startswith(f"there is no rpc {path[:3]!r}"[:-1])
    assert details.isprintable()
    assert len(details) < 250
    assert [(one.rpc, one.reason) for one in told] == [("grpc", "NOT_FOUND")]
    (line,) = log
    assert line["path"].isprintable()
    assert len(line["path"]) < 250


async def test_a_client_that_streams_is_told_at_once_too(channel: grpc.aio.Channel) -> None:
    """It need not send anything first."""
    for call in (channel.stream_unary, channel.stream_stream):
        error = await refused(call("/no.Service/Call")())
        assert (error.code(), reason_of(error)) == (CODE.UNIMPLEMENTED, "NOT_FOUND")


async def test_a_large_request_of_somebody_unknown_is_refused_as_a_small_one(tls: Secured) -> None:
    """Before it has arrived, and its client hears of it while it still sends."""
    async with channel_to(tls) as channel:
        for path in (f"{COMMANDS}/SubmitCommand", "/no.Service/Call"):
            error = await refused(unary(channel, path, bytes(3_000_000)))
            assert reason_of(error) in ("UNAUTHORIZED", "NOT_FOUND")
    assert [one.reason for one in tls.refusals] == ["UNAUTHORIZED", "NOT_FOUND"]


async def test_a_tool_without_credentials_hears_that_it_must_look_on(tls: Secured) -> None:
    """Tools ask for the newest reflection first, and for the one before when it is not there."""
    async with channel_to(tls) as channel:
        newest = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        error = await refused(channel.stream_stream(newest)())
        assert (error.code(), reason_of(error)) == (CODE.UNIMPLEMENTED, "NOT_FOUND")
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        listed = [one.name for one in (await call.read()).list_services_response.service]
        assert "grpc.health.v1.Health" in listed
        assert await call.read() is grpc.aio.EOF
        answer = await unary(channel, f"{HEALTH}/Check")
        serving = health_pb2.HealthCheckResponse.SERVING
        assert health_pb2.HealthCheckResponse.FromString(answer).status == serving
    assert [one.caller for one in tls.refusals] == [None]


async def test_calls_of_nothing_count_against_the_limit(tmp_path: Path) -> None:
    """Of a caller who is known; and he is in the audit log."""
    limits = Limits(LimitsSection(requests_per_second=1, requests_at_once=2), ManualClock())
    async with secured(tmp_path, limits=limits, take=limits.rate.take) as tls:
        key = await tls.keys.create("test")
        async with channel_to(tls, bearer(key)) as channel:
            codes = [(await refused(unary(channel, "/no.Service/Call"))).code() for _ in range(3)]
    assert codes == [CODE.UNIMPLEMENTED, CODE.UNIMPLEMENTED, CODE.RESOURCE_EXHAUSTED]
    assert [one.caller.principal for one in tls.refusals if one.caller] == [key.key.api_id] * 3


async def test_a_flood_of_calls_of_nothing_makes_few_entries(
    core: Core, tmp_path: Path, clock: ManualClock
) -> None:
    """Each with another path, from a connection of its own, or with another claimed ID."""
    await audit.recording(core.store)
    keeping = Audit(core.store.audit, clock)
    settings = Grpc(listen="127.0.0.1:0")
    async with (
        keeping,
        RpcServer(
            settings, core.commands, Health(), stop_seconds=1, refused=keeping.refused
        ) as server,
    ):
        for _ in range(4):
            async with grpc.aio.insecure_channel(server.address) as channel:
                calls = [
                    refused(
                        channel.unary_unary(f"/no.Service/Call{number}")(
                            b"", metadata=[("authorization", f"Bearer dk_{number}.x")]
                        )
                    )
                    for number in range(100)
                ]
                await asyncio.gather(*calls)
        core.hub.close()
    found = audit.entries(tmp_path / "dockgate.db", reason="NOT_FOUND")
    others = audit.entries(tmp_path / "dockgate.db")
    refusals = [one.entry for one in others if one.entry.outcome == "refused"]
    assert sum(one.calls for one in refusals) == 400
    assert found
    assert {one.entry.action for one in found} == {"grpc"}
    assert len(refusals) <= 130


async def test_a_path_that_is_no_text_does_not_end_the_server(
    server: RpcServer, channel: grpc.aio.Channel
) -> None:
    """GRPC itself would stop to serve everybody."""
    for path in (b"/x/\xff\xfe", b"/\xc3", b"\x80", b""):
        answered = await raw_grpc.ask(server.address, path)
        assert b"grpc-status\x0212" in answered
        assert b"there is no rpc" in answered
    await unary(channel, f"{COMMANDS}/ListCommands")


async def test_elsewhere_what_is_no_text_is_an_error_as_ever(server: RpcServer) -> None:
    """In a task, in a thread and outside of any."""

    def decode() -> None:
        b"\xff".decode()

    for run in (decode, "\ud800".encode, partial("ä".encode, "ascii")):
        with pytest.raises(UnicodeError):
            run()
    with pytest.raises(UnicodeDecodeError):
        await asyncio.to_thread(decode)


async def test_it_is_noticed_when_grpc_ends_by_itself(server: RpcServer) -> None:
    """A gateway that no longer answers must not look alive."""
    running = asyncio.create_task(server.run())
    codecs.register_error("strict", codecs.strict_errors)
    with contextlib.suppress(AssertionError, asyncio.IncompleteReadError):
        await raw_grpc.ask(server.address, b"/\xff")
    with pytest.raises(UnicodeDecodeError):
        async with asyncio.timeout(10):
            await running


async def test_watching_over_the_server_outlasts_its_stop(core: Core) -> None:
    """Only an end that nobody asked for is one."""
    server = RpcServer(Grpc(listen="127.0.0.1:0"), core.commands, Health(), stop_seconds=1)
    async with server:
        running = asyncio.create_task(server.run())
    done, _ = await asyncio.wait((running,), timeout=0.05)
    assert not done
    running.cancel()


@pytest.mark.parametrize(
    "path",
    [
        f"{COMMANDS}/GetCommand",
        f"{COMMANDS}/WatchCommands",
        f"{HEALTH}/Check",
        f"{HEALTH}/Watch",
    ],
)
async def test_a_call_that_does_not_say_what_it_wants_is_ended(
    channel: grpc.aio.Channel,
    clock: ManualClock,
    told: list[Refusal],
    path: str,
    waiting: Callable[[int], Any],
) -> None:
    """In time, and before that nothing happens to it; those that came later have longer."""
    early = channel.stream_stream(path)()
    await waiting(1)
    clock.advance(1)
    late = channel.stream_stream(path)()
    await waiting(2)
    clock.advance(REQUEST_SECONDS - 1)
    error = await refused(early)
    assert (error.code(), reason_of(error)) == (CODE.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert "30 s" in (error.details() or "")
    assert not late.done()
    clock.advance(1)
    assert (await refused(late)).code() is CODE.INVALID_ARGUMENT
    assert len(told) == 2


@pytest.fixture
def waiting(server: RpcServer, channel: grpc.aio.Channel) -> Callable[[int], Any]:
    """Waits until so many calls wait for their request."""
    arrival = server._arrival

    async def wait(number: int) -> None:
        for _ in range(1000):
            await unary(channel, f"{HEALTH}/Check")  # by then it has seen what came before
            if len(arrival._waiting) == number:
                return
        raise AssertionError(arrival._waiting)

    return wait


async def test_a_tool_that_falls_silent_has_asked_everything(
    channel: grpc.aio.Channel,
    clock: ManualClock,
    told: list[Refusal],
    waiting: Callable[[int], Any],
) -> None:
    """That is no mistake of it: it has its answers."""
    call = channel.stream_stream(REFLECTION)()
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    await call.write(asked.SerializeToString())
    await call.read()
    await waiting(1)
    clock.advance(REQUEST_SECONDS)
    assert await call.read() is grpc.aio.EOF
    assert (await call.code(), told) == (CODE.OK, [])


async def test_a_call_without_a_request_is_told_so(
    channel: grpc.aio.Channel, told: list[Refusal]
) -> None:
    """GRPC would leave it open until its client gives up."""
    call = channel.stream_unary(f"{COMMANDS}/GetCommand")()
    await call.done_writing()
    error = await refused(call)
    assert (error.code(), reason_of(error)) == (CODE.INVALID_ARGUMENT, "VALIDATION_FAILED")


async def test_who_goes_before_asking_was_not_refused(
    channel: grpc.aio.Channel, told: list[Refusal], log: Log, waiting: Callable[[int], Any]
) -> None:
    """Nothing is written of it, and nothing of it stays."""
    calls: list[Any] = []
    for number in range(60):
        path = f"{COMMANDS}/{('GetCommand', 'WatchCommands')[number % 2]}"
        calls.append(channel.stream_stream(path)())
        for _ in range(number % 7):
            await asyncio.sleep(0)
        calls[number // 2].cancel()
    for call in calls:
        call.cancel()
    await unary(channel, f"{COMMANDS}/ListCommands")
    await waiting(0)
    assert (told, log) == ([], [])


async def test_a_flood_of_callers_who_are_not_known_makes_few_lines(tmp_path: Path) -> None:
    """The next line counts those that were left out; one who is known has a line each time."""
    clock = ManualClock()
    limits = Limits(LimitsSection(), clock)
    async with secured(tmp_path, limits=limits) as tls:
        key = await tls.keys.create("test")
        async with channel_to(tls) as nobody, channel_to(tls, bearer(key)) as known:
            with capture_logs() as lines:
                for path in ("/no.Service/Call", f"{COMMANDS}/ListCommands"):
                    await asyncio.gather(*(refused(unary(nobody, path)) for _ in range(50)))
                for _ in range(15):
                    await refused(unary(known, "/no.Service/Call"))
                assert len(lines) == MOST_UNPROVEN_LINES + 15
                clock.advance(LOG_SECONDS)
                await refused(unary(nobody, "/no.Service/Call"))
            assert lines[-1]["left_out"] == 100 - MOST_UNPROVEN_LINES
            assert not any("left_out" in line for line in lines[:-1])
    assert len(tls.refusals) == 116


async def test_requests_are_read_whatever_comes_with_them(channel: grpc.aio.Channel) -> None:
    """Only the first message of a call counts, as ever."""
    call = channel.stream_unary(f"{COMMANDS}/ListCommands")(iter([b"", NO_MESSAGE]))
    assert pb.ListCommandsResponse.FromString(await call).commands == []
