"""Who asks over gRPC: nobody's business on loopback, an API key or a certificate over TLS."""

import asyncio
import hmac
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from support.certificates import Authority
from support.core import Core
from support.gateway import recording_start
from support.log import Log
from support.secured import Secured, bearer, secured

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.access.keys import NewKey
from dockgate_server.access.opening import CACHE_SECONDS, NEW_SECONDS
from dockgate_server.config import Grpc
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


async def refused(call: Any) -> grpc.aio.AioRpcError:
    """The error with which a call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def reason_of(error: grpc.aio.AioRpcError) -> str:
    from google.rpc import error_details_pb2

    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


def trailing(error: grpc.aio.AioRpcError, name: str) -> list[Any]:
    return [value for key, value in error.trailing_metadata() if key == name]


async def test_over_loopback_without_tls_everybody_may_do_all(stub: Any, core: Core) -> None:
    """For development: no keys to make before the first command."""
    answer = await stub.SubmitCommand(recording_start("k1"))
    stored = await core.store.get_command("default", answer.command.command_id)
    assert stored is not None


async def test_credentials_without_tls_are_refused(stub: Any) -> None:
    """They have been seen on the way; to go on as everybody would hide that."""
    call = stub.SubmitCommand(recording_start("k1"), metadata=[("authorization", "Bearer a.b")])
    error = await refused(call)
    assert (error.code(), reason_of(error)) == (UNAUTHENTICATED, "UNAUTHORIZED")
    assert "over TLS only" in (error.details() or "")


async def test_an_api_key_is_its_tenant_and_itself(tls: Secured) -> None:
    """What it submits is its own."""
    key = await tls.keys.create("test", tenant="acme")
    async with tls.stub(key) as stub:
        listed = await stub.ListCommands(pb.ListCommandsRequest())
    assert listed.commands == []
    [caller] = tls.taken
    assert (caller.tenant, caller.principal) == ("acme", key.key.api_id)
    assert caller.origin.transport == "grpc"
    assert caller.origin.peer.startswith("127.0.0.1:")


async def test_the_scheme_may_be_written_otherwise(tls: Secured) -> None:
    """Schemes have no upper and lower case (RFC 9110)."""
    key = await tls.keys.create("test")
    metadata = [("authorization", f"bearer  {bearer(key)}")]
    async with tls.stub() as stub:
        await stub.ListCommands(pb.ListCommandsRequest(), metadata=metadata)


async def test_unknown_disabled_and_wrong_are_told_the_same(tls: Secured) -> None:
    """Nobody finds out which IDs there are."""
    good, disabled = await tls.keys.create("one"), await tls.keys.create("two")
    await tls.keys.disable(disabled.key.api_id)
    tokens = {
        "unknown": f"dk_0123456789abcdef.{good.secret}",
        "disabled": bearer(disabled),
        "wrong": f"{good.key.api_id}.{disabled.secret}",
        "cut short": bearer(good)[:-1],
        "longer": bearer(good) + "A",
    }
    told = {}
    for name, token in tokens.items():
        async with tls.stub(token) as stub:
            error = await refused(stub.GetCommand(pb.GetCommandRequest(command_id="x")))
        told[name] = (error.code(), error.details(), reason_of(error))
    assert len(set(told.values())) == 1
    assert told["wrong"][0] is UNAUTHENTICATED


async def test_an_unknown_id_is_compared_as_a_wrong_key_is(
    tls: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the time would tell which IDs there are."""
    compared: list[int] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append(len(other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    key = await tls.keys.create("test")
    for api_id in (key.key.api_id, "dk_0123456789abcdef"):
        async with tls.stub(f"{api_id}.{key.secret[:-1]}") as stub:
            await refused(stub.ListCommands(pb.ListCommandsRequest()))
    assert len(compared) == 2
    assert compared[0] == compared[1]


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        "Bearer nodot",
        "Bearer .key",
        "Bearer id.",
        "Bearer a.b c",
    ],
)
async def test_what_is_no_api_key_is_told_the_form(tls: Secured, authorization: str) -> None:
    """A mistake of the client's maker, who must be able to see it."""
    async with tls.stub() as stub:
        call = stub.ListCommands(
            pb.ListCommandsRequest(), metadata=[("authorization", authorization)]
        )
        error = await refused(call)
    assert error.code() is UNAUTHENTICATED
    assert "must be Bearer <api id>.<api key>" in (error.details() or "")


async def test_two_credentials_are_none(tls: Secured) -> None:
    """Two readers would not agree on which one counts."""
    key = await tls.keys.create("test")
    async with tls.stub(key) as stub:
        call = stub.ListCommands(
            pb.ListCommandsRequest(), metadata=[("authorization", f"Bearer {bearer(key)}")]
        )
        error = await refused(call)
    assert error.code() is UNAUTHENTICATED
    assert "more than once" in (error.details() or "")


async def test_no_credentials_over_tls_are_told_what_to_send(tls: Secured) -> None:
    """TLS alone proves nothing about the client."""
    async with tls.stub() as stub:
        error = await refused(stub.ListCommands(pb.ListCommandsRequest()))
    assert (error.code(), reason_of(error)) == (UNAUTHENTICATED, "UNAUTHORIZED")
    assert "Bearer <api id>.<api key>" in (error.details() or "")


async def test_every_rpc_of_ours_asks_who_calls(tls: Secured) -> None:
    """Also a watch, and whatever is added: it is wrapped by the schema."""
    service = pb.DESCRIPTOR.services_by_name["CommandService"]
    async with tls.stub() as stub:
        for rpc in service.methods:
            request = getattr(pb, rpc.input_type.name)()
            call = getattr(stub, rpc.name)(request)
            error = await refused(call.read() if rpc.server_streaming else call)
            assert error.code() is UNAUTHENTICATED, rpc.name


async def test_health_and_reflection_need_no_credentials(tls: Secured) -> None:
    """Load balancers and tools have none."""
    trusting = grpc.ssl_channel_credentials(tls.authority.certificate.read_bytes())
    async with grpc.aio.secure_channel(tls.server.address, trusting) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        assert (await call.read()).list_services_response.service
        call.cancel()


async def test_a_missing_scope_is_forbidden(tls: Secured) -> None:
    """The caller is known, and may not."""
    key = await tls.keys.create("reader", scopes=[Scope.READ])
    async with tls.stub(key) as stub:
        await stub.ListCommands(pb.ListCommandsRequest())
        error = await refused(stub.SubmitCommand(recording_start("k1")))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert tls.refusals[-1].reason == Reason.FORBIDDEN


async def test_another_tenants_commands_are_not_there(tls: Secured) -> None:
    """In each call that names one or lists them, as if nobody had submitted them."""
    mine, theirs = await tls.keys.create("mine"), await tls.keys.create("theirs", tenant="acme")
    unknown = "00000000-0000-4000-8000-000000000000"
    async with tls.stub(mine) as stub, tls.stub(theirs) as other:
        submitted = await stub.SubmitCommand(recording_start("k1"))
        command_id = submitted.command.command_id

        def told(one: str) -> list[Any]:
            watch = other.WatchCommand(pb.WatchCommandRequest(command_id=one))
            return [
                other.GetCommand(pb.GetCommandRequest(command_id=one)),
                other.CancelCommand(pb.CancelCommandRequest(command_id=one)),
                watch.read(),
            ]

        for seen, missing in zip(told(command_id), told(unknown), strict=True):
            error, same = await refused(seen), await refused(missing)
            assert error.code() is same.code() is grpc.StatusCode.NOT_FOUND
            assert (error.details() or "").replace(command_id, unknown) == same.details()
        assert (await other.ListCommands(pb.ListCommandsRequest())).commands == []
        assert len((await stub.ListCommands(pb.ListCommandsRequest())).commands) == 1


async def test_a_fleet_watch_shows_its_own_tenant_only(tmp_path: Path) -> None:
    """What others do does not even wake it."""
    async with secured(tmp_path, heartbeat_seconds=0.05) as tls:
        mine, theirs = await tls.keys.create("mine"), await tls.keys.create("t", tenant="acme")
        async with tls.stub(mine) as stub, tls.stub(theirs) as other:
            watch = other.WatchCommands(pb.WatchCommandsRequest())
            await watch.read()
            await stub.SubmitCommand(recording_start("k1"))
            updates = [await watch.read() for _ in range(3)]
            watch.cancel()
    assert not any(update.HasField("event") for update in updates)


async def test_a_disabled_key_ends_to_work_and_its_watches_with_it(tmp_path: Path) -> None:
    """Within the time for which keys are remembered, as another process has disabled it."""
    async with secured(tmp_path, heartbeat_seconds=0.05) as tls:
        key = await tls.keys.create("test")
        async with tls.stub(key) as stub:
            one = (await stub.SubmitCommand(recording_start("k1", timeout_seconds=300))).command
            watches = [
                stub.WatchCommand(pb.WatchCommandRequest(command_id=one.command_id)),
                stub.WatchCommands(pb.WatchCommandsRequest()),
            ]
            for watch in watches:
                await watch.read()
            await tls.elsewhere.disable(key.key.api_id)

            tls.clock.advance(CACHE_SECONDS)

            for call in (stub.ListCommands(pb.ListCommandsRequest()), *map(_end_of, watches)):
                async with asyncio.timeout(10):
                    error = await refused(call)
                assert error.code() is UNAUTHENTICATED
    assert {one.rpc for one in tls.refusals} == {"ListCommands", "WatchCommand", "WatchCommands"}


async def _end_of(watch: Any) -> None:
    while await watch.read() is not grpc.aio.EOF:
        pass


async def test_while_keys_rotate_both_secrets_are_good(tls: Secured) -> None:
    """And the older one no longer, once that has been finished."""
    old = await tls.keys.create("test")
    new = await tls.keys.rotate(old.key.api_id)
    async with tls.stub(old) as first, tls.stub(new) as second:
        await first.ListCommands(pb.ListCommandsRequest())
        await second.ListCommands(pb.ListCommandsRequest())
        await tls.keys.finish_rotation(old.key.api_id)
        error = await refused(first.ListCommands(pb.ListCommandsRequest()))
        assert error.code() is UNAUTHENTICATED
        await second.ListCommands(pb.ListCommandsRequest())


async def test_a_new_secret_is_good_after_a_second_though_the_key_is_in_use(tls: Secured) -> None:
    """Another process rotates; what was remembered of the key does not hold it up for longer."""
    old = await tls.keys.create("test")
    async with tls.stub(old) as first:
        await first.ListCommands(pb.ListCommandsRequest())
    new = await tls.elsewhere.rotate(old.key.api_id)
    async with tls.stub(new) as second:
        error = await refused(second.ListCommands(pb.ListCommandsRequest()))
        assert error.code() is UNAUTHENTICATED
        tls.clock.advance(NEW_SECONDS)
        await second.ListCommands(pb.ListCommandsRequest())


_DNS, _URI, _MAIL = x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name


@pytest.mark.parametrize(
    ("names", "stands_for"),
    [
        ((), "client"),
        ((_DNS("svc.example"),), "svc.example"),
        ((_URI("spiffe://example/svc"),), "spiffe://example/svc"),
        ((_MAIL("svc@example.com"),), "svc@example.com"),
        ((_MAIL("svc@example.com"), _DNS("other.example")), "svc@example.com"),
    ],
    ids=["common name", "DNS", "URI", "email", "one of several"],
)
async def test_a_certificates_name_stands_for_a_key(
    mutual: Secured, names: Any, stands_for: str
) -> None:
    """Mutual TLS: nothing else needs to be sent."""
    key = await mutual.keys.create("test", tenant="acme", client_certificate=stands_for)
    certificate = mutual.authority.issue("client", names=names)
    async with mutual.stub(certificate=certificate) as stub:
        await stub.ListCommands(pb.ListCommandsRequest())
    assert mutual.taken[0].principal == key.key.api_id
    assert mutual.taken[0].tenant == "acme"


async def test_the_common_name_does_not_count_beside_other_names(mutual: Secured) -> None:
    """An authority checks the names that are for machines; the common one may be anything."""
    await mutual.keys.create("test", client_certificate="admin")
    certificate = mutual.authority.issue("admin", names=[_DNS("svc.example")])
    async with mutual.stub(certificate=certificate) as stub:
        error = await refused(stub.ListCommands(pb.ListCommandsRequest()))
    assert error.code() is UNAUTHENTICATED
    assert "stands for no API key" in (error.details() or "")


async def test_an_api_key_goes_before_the_certificate(mutual: Secured) -> None:
    """A service that acts for one of several within its tenant says for which."""
    await mutual.keys.create("machine", client_certificate="client")
    key = await mutual.keys.create("person")
    async with mutual.stub(key, mutual.authority.issue("client")) as stub:
        await stub.ListCommands(pb.ListCommandsRequest())
    async with mutual.stub(key, mutual.authority.issue("unknown")) as stub:
        await stub.ListCommands(pb.ListCommandsRequest())
    assert [one.principal for one in mutual.taken] == [key.key.api_id] * 2


async def test_key_and_certificate_of_different_tenants_are_refused(mutual: Secured) -> None:
    """A key that was carried off does not work from another tenant's machines."""
    await mutual.keys.create("machine", tenant="acme", client_certificate="client")
    key = await mutual.keys.create("person")
    async with mutual.stub(key, mutual.authority.issue("client")) as stub:
        error = await refused(stub.ListCommands(pb.ListCommandsRequest()))
    assert error.code() is UNAUTHENTICATED
    assert "different tenants" in (error.details() or "")


async def test_a_watch_ends_when_its_certificate_stands_for_another_key(tmp_path: Path) -> None:
    """It goes on showing what the first one might see; taken up again, it is the second one's."""
    async with secured(tmp_path, mutual=True, heartbeat_seconds=0.05) as mutual:
        first = await mutual.keys.create("first", client_certificate="client")
        async with mutual.stub(certificate=mutual.authority.issue("client")) as stub:
            watch = stub.WatchCommands(pb.WatchCommandsRequest())
            await watch.read()
            await mutual.elsewhere.disable(first.key.api_id)
            await mutual.elsewhere.create("second", tenant="acme", client_certificate="client")

            mutual.clock.advance(CACHE_SECONDS)

            async with asyncio.timeout(10):
                error = await refused(_end_of(watch))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "watch again" in (error.details() or "")


async def test_tls_without_keys_is_a_mistake_of_ours(tls: Secured) -> None:
    """It would be a server that refuses everybody, or nobody."""
    certificate, key = tls.authority.issue("another", "127.0.0.1")
    settings = Grpc(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
    with pytest.raises(ValueError, match="API keys"):
        RpcServer(settings, tls.core.commands, Health(), stop_seconds=0)


@pytest.mark.parametrize("kind", ["none", "of another authority", "expired"])
async def test_a_client_without_a_good_certificate_gets_no_connection(
    mutual: Secured, tmp_path: Path, kind: str
) -> None:
    """Where certificates are asked for, an API key alone does not do."""
    key = await mutual.keys.create("test", client_certificate="client")
    certificate = {
        "none": lambda: None,
        "of another authority": lambda: Authority(tmp_path / "other").issue("client"),
        "expired": lambda: mutual.authority.issue("client", days=-1),
    }[kind]()
    async with mutual.stub(key, certificate) as stub:
        error = await refused(stub.ListCommands(pb.ListCommandsRequest()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert mutual.taken == []


@pytest.mark.parametrize("given", ["my-id", "a b"])
async def test_the_request_id_comes_back(tls: Secured, given: str) -> None:
    """Whatever became of the call; the log and the audit know it too."""
    key = await tls.keys.create("test")
    metadata = [("x-request-id", given)]
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        await _check_request_id(tls, key, metadata, given)
    assert [line["request_id"] for line in logs if line["event"] == "grpc_refused"] == [given]


async def _check_request_id(tls: Secured, key: NewKey, metadata: Any, given: str) -> None:
    async with tls.stub(key) as stub:
        call = stub.ListCommands(pb.ListCommandsRequest(), metadata=metadata)
        await call
        assert dict(await call.trailing_metadata())["x-request-id"] == given
        wrong = pb.GetCommandRequest(command_id="no id")
        error = await refused(stub.GetCommand(wrong, metadata=metadata))
    assert trailing(error, "x-request-id") == [given]
    assert tls.refusals[0].origin.request_id == given
    assert tls.taken[0].origin.request_id == given


async def test_a_request_id_is_made_where_none_can_be_used(stub: Any) -> None:
    """Every answer has one."""
    ids = set()
    for metadata in ([], [("x-request-id", "x" * 129)], [("x-request-id", "a")] * 2):
        call = stub.ListCommands(pb.ListCommandsRequest(), metadata=metadata)
        await call
        ids.add(dict(await call.trailing_metadata())["x-request-id"])
    assert {len(one) for one in ids} == {36}
    assert len(ids) == 3


async def test_refusals_are_told_with_who_and_whence(tls: Secured) -> None:
    """Whom a caller claims to be is not who it is."""
    key = await tls.keys.create("test")
    async with tls.stub(f"{key.key.api_id}.wrong") as stub:
        await refused(stub.ListCommands(pb.ListCommandsRequest()))
    async with tls.stub(key) as stub:
        await refused(stub.GetCommand(pb.GetCommandRequest(command_id="x")))
    unproven, known = tls.refusals
    assert (unproven.caller, unproven.claimed) == (None, key.key.api_id)
    assert (unproven.rpc, unproven.reason) == ("ListCommands", "UNAUTHORIZED")
    assert known.caller is not None
    assert known.caller.principal == key.key.api_id
    assert (known.rpc, known.reason) == ("GetCommand", "COMMAND_NOT_FOUND")
    assert known.origin.peer.startswith("127.0.0.1:")


async def test_neither_log_nor_answer_has_the_secret(tls: Secured, log: Log) -> None:
    """Right or wrong."""
    key = await tls.keys.create("test")
    told = []
    for token in (bearer(key), bearer(key) + "x", f"Basic {key.secret}"):
        async with tls.stub(token) as stub:
            error = await refused(stub.GetCommand(pb.GetCommandRequest(command_id="x")))
        told.append(error.details())
    assert key.secret not in f"{log}{told}{tls.refusals}"


async def test_beyond_its_limit_a_caller_is_told_when_to_come_again(tmp_path: Path) -> None:
    """By RetryInfo, which clients' libraries understand."""
    from google.rpc import error_details_pb2

    def full(caller: Caller) -> None:
        raise DockgateError(
            Reason.RATE_LIMITED,
            "too many calls",
            metadata={"limit": "some", "retry_after_seconds": "1.5"},
        )

    async with secured(tmp_path, take=full) as tls:
        key = await tls.keys.create("test")
        async with tls.stub(key) as stub:
            error = await refused(stub.ListCommands(pb.ListCommandsRequest()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    retry = error_details_pb2.RetryInfo()
    assert status is not None
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert tls.refusals[0].caller is not None
