"""The use cases: what can be asked about commands, the same for every transport.

Requests come as the messages of ``proto/dockgate/downlink/v1``: the rules beside their fields are
the rules for gRPC and HTTP alike.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from google.protobuf.message import Message

from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server import asking, command_ids, errors
from dockgate_server.clock import Clock
from dockgate_server.codec import catalogue, channels, cursor, dji_json, redaction
from dockgate_server.commands import naming, requests
from dockgate_server.commands.watching import FleetUpdate, Watching
from dockgate_server.devices.reach import Reach
from dockgate_server.devices.registry import Registry
from dockgate_server.dispatcher.dispatcher import Dispatcher
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.hub import Hub
from dockgate_server.limits import Limits, unlimited
from dockgate_server.model.audit import Entry, Outcome, by
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.command import Command, CommandEvent, FailureCode, OfflinePolicy, Vendor
from dockgate_server.model.transitions import Accept, Accepted, BeginSending, Cancel, Nonce
from dockgate_server.sealing import Vault
from dockgate_server.store.interface import LedgerPage, Page, Store

_POLICIES = {
    command_pb2.OFFLINE_POLICY_FAIL_FAST: OfflinePolicy.FAIL_FAST,
    command_pb2.OFFLINE_POLICY_QUEUE: OfflinePolicy.QUEUE,
}


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the configuration switches on; off by default."""

    raw_methods: bool = False
    control_streams: bool = False


class Commands:
    """Submitting commands and following what becomes of them.

    Args:
        store: Where commands are read.
        dispatcher: Where new ones are accepted.
        hub: Wakes watchers.
        registry: Knows which devices there are.
        clock: The time.
        vault: Seals what is secret.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        permissions: What is switched on beyond the ordinary.
        limits: How many commands and watches may be open; none by default.
        on_replay: Is told of a submission that was made before, for the audit log.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        hub: Hub,
        registry: Registry,
        clock: Clock,
        vault: Vault,
        *,
        heartbeat_seconds: float = 15.0,
        permissions: Permissions | None = None,
        limits: Limits | None = None,
        on_replay: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._registry = registry
        self._clock = clock
        self._vault = vault
        limits = limits or unlimited()
        self._open_commands = limits.open_commands
        self._watching = Watching(store, hub, registry, heartbeat_seconds, limits.watches)
        self._permissions = permissions or Permissions()
        self._on_replay = on_replay
        self._stopping = False

    def stop_accepting(self) -> None:
        """Refuse new commands from now on; what has been accepted goes on."""
        self._stopping = True

    async def submit(
        self, caller: Caller, request: pb.SubmitCommandRequest, nonce: Nonce | None = None
    ) -> Accepted:
        """Store a command durably; sending it goes on behind the answer.

        Args:
            caller: Who asks.
            request: What.
            nonce: Is used up with it, if it comes to that; it says itself whether it was.

        Raises:
            DockgateError: VALIDATION_FAILED, UNSUPPORTED_COMMAND, FORBIDDEN, DEVICE_NOT_FOUND,
                IDEMPOTENCY_CONFLICT, PAYLOAD_TOO_LARGE, RATE_LIMITED, NONCE_REPLAYED, UNAVAILABLE.
                Nothing was stored, unless it says that this is open.
        """
        try:
            accepted = await self._submitted(caller, request, nonce)
        except DockgateError as refused:
            refused.subject = requests.subject(request)
            raise
        if accepted.replayed:
            command_id, content = accepted.command.id, accepted.content_hash
            now, outcome = self._clock.now_ms(), Outcome.REPLAYED
            self._on_replay(requests.entry(caller, now, outcome, request, command_id, content))
        return accepted

    async def _submitted(
        self, caller: Caller, request: pb.SubmitCommandRequest, nonce: Nonce | None
    ) -> Accepted:
        asking.need(caller, Scope.CREATE)
        method, message = requests.method_of(request)
        values = dji_json.to_data(message, method.spec.empty_data)
        content = plain = requests.content_hash(request, method, values)
        kept = redaction.to_keep(method.name, values)
        if kept is not values:
            content = self._vault.digest(plain)
        try:
            data = orjson.dumps(values)
            without = None if kept is values else orjson.dumps(kept)
            new = self._new(caller, request, method, message, data, without, content, nonce)
            accepted = await self._accept(caller, new, method)
        except DockgateError as refused:
            if refused.reason is Reason.NONCE_REPLAYED:
                raise
            # A repetition gets the first answer whatever rules, devices and the state of the
            # gateway say by now. Looking only here saves everybody else the read.
            known = await self._store.find_accepted(caller.tenant, request.idempotency_key)
            if known is None or not requests.may_see(Reach(self._registry, caller), known.command):
                raise
            accepted = known
        # Without a key it was digested when not all that is secret now was marked.
        if accepted.content_hash not in (content, plain):
            raise _conflict(request.idempotency_key, accepted.command.id)
        return accepted

    async def get(self, caller: Caller, request: pb.GetCommandRequest) -> Command:
        """The command as it is now.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, COMMAND_NOT_FOUND.
        """
        asking.need(caller, Scope.READ)
        command_id = requests.command_id(request)
        return await requests.find(self._store, Reach(self._registry, caller), command_id)

    async def list(self, caller: Caller, request: pb.ListCommandsRequest) -> tuple[Page, str]:
        """A page of commands, newest first, and the token of the next one ("" behind the last).

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        before = asking.position(cursor.PAGE, request.page_token)
        which = requests.filter_of(request)
        reach, among = Reach(self._registry, caller), None
        reach.check_name(which.device_id)
        if reach.is_limited:
            targets = await self._store.targets(caller.tenant)
            among = [one for one in targets if reach.has_target(*one)]
        limit = asking.page_size(request.page_size)
        page = await self._store.list_commands(caller.tenant, which, before, limit, among)
        return page, asking.next_page(cursor.PAGE, page.next_before)

    def watch(
        self, caller: Caller, request: pb.WatchCommandRequest
    ) -> AsyncIterator[CommandEvent | None]:
        """See :meth:`~dockgate_server.commands.watching.Watching.watch`."""
        return self._watching.watch(caller, request)

    def watch_all(
        self, caller: Caller, request: pb.WatchCommandsRequest
    ) -> AsyncIterator[FleetUpdate]:
        """See :meth:`~dockgate_server.commands.watching.Watching.watch_all`."""
        return self._watching.watch_all(caller, request)

    async def cancel(self, caller: Caller, request: pb.CancelCommandRequest) -> Command:
        """Withdraw a command that has not been sent; one that is cancelled stays so.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, COMMAND_NOT_FOUND,
                COMMAND_NOT_CANCELLABLE, UNAVAILABLE.
        """
        asking.need(caller, Scope.CREATE)
        command_id = requests.command_id(request)
        reach = Reach(self._registry, caller)
        command = await requests.find(self._store, reach, command_id)
        now = self._clock.now_ms()
        audit = by(caller, now, "cancel_command")._replace(
            target=command.id, device_id=command.device_id, method=command.command_type
        )
        cancelled = await self._store.apply(Cancel(command.id, now, audit))
        if cancelled:
            return cancelled[-1].command
        # Somebody else has decided before: the dispatcher, the device, the deadline, a canceller.
        command = await requests.find(self._store, reach, command_id)
        if command.failure_code is not FailureCode.CANCELLED:
            raise requests.not_cancellable(command)
        return command

    def model_of(self, gateway_id: str) -> str:
        """The model of the gateway device that a command went to; "" while it is not known."""
        gateway = self._registry.get(gateway_id)
        return "" if gateway is None else gateway.model

    async def list_unmatched(
        self, caller: Caller, request: pb.ListUnmatchedResponsesRequest
    ) -> tuple[LedgerPage, str]:
        """A page of the replies that fit no command, and the token of the next one.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN.
        """
        asking.need(caller, Scope.READ)
        asking.check(request)
        before = asking.position(cursor.LEDGER, request.page_token)
        reach, among = Reach(self._registry, caller), None
        reach.check_name(request.gateway_id)
        if reach.is_limited:
            gateways = await self._store.unmatched_gateways(caller.tenant)
            among = [one for one in gateways if reach.has_gateway(one)]
        limit = asking.page_size(request.page_size)
        page = await self._store.list_unmatched(
            caller.tenant, request.gateway_id, before, limit, among
        )
        return page, asking.next_page(cursor.LEDGER, page.next_before)

    def _check_permitted(
        self, caller: Caller, request: pb.SubmitCommandRequest, method: catalogue.Method
    ) -> None:
        if request.dji.HasField("raw_method"):
            if not self._permissions.raw_methods:
                raise _switched_off("raw methods", "commands.raw_methods")
            asking.need(caller, Scope.RAW)
        if method.spec.dangerous:
            asking.need(caller, Scope.DANGEROUS)
        if method.spec.control_stream and not self._permissions.control_streams:
            raise _switched_off("control streams", "commands.control_streams")

    def _new(
        self,
        caller: Caller,
        request: pb.SubmitCommandRequest,
        method: catalogue.Method,
        message: Message,
        data: bytes,
        kept: bytes | None,
        content: bytes,
        nonce: Nonce | None,
    ) -> Accept:
        """The command that is asked for, where nothing is wrong with it."""
        asking.check_data(data)
        if violations := requests.violations(request, method, message, data):
            raise errors.validation_failed(violations)
        self._check_permitted(caller, request, method)
        if self._stopping:
            raise errors.unavailable("the gateway is stopping; nothing was accepted")
        reach = Reach(self._registry, caller)
        device = reach.resolve(request.device_id)
        # Whoever may reach a drone alone may not open the cover over it.
        if not (method.is_for_the_device or reach.has_gateway(device.gateway_id)):
            raise asking.out_of_reach(caller, device.gateway_id)
        if method.name in naming.METHODS:
            naming.check(reach, method.name, message)
        now = self._clock.now_ms()
        command_id = command_ids.new(now)
        timeout = request.timeout_seconds or method.default_timeout_seconds
        return Accept(
            id=command_id,
            tenant=caller.tenant,
            principal=caller.principal,
            idempotency_key=request.idempotency_key,
            content_hash=content,
            vendor=Vendor.DJI,
            device_id=request.device_id,
            gateway_id=device.gateway_id,
            channel=channels.BY_OPTION[method.spec.channel],
            command_type=method.name,
            data=data if kept is None else kept,
            sealed=None if kept is None else self._vault.seal(command_id, data),
            timeout_seconds=timeout,
            accepted_at=now,
            deadline_at=now + timeout * 1000,
            job_key=method.job_key(message, command_id),
            offline_policy=_POLICIES.get(request.offline_policy, method.offline_policy),
            sending=False,
            audit=requests.entry(caller, now, Outcome.ACCEPTED, request, command_id, content),
            nonce=nonce,
            overtakes=method.spec.overtakes,
        )

    async def _accept(self, caller: Caller, new: Accept, method: catalogue.Method) -> Accepted:
        self._open_commands.reserve(caller, new.id, new.gateway_id, method.name)
        try:
            accepted = await self._dispatcher.accept(new, method)
        except asyncio.CancelledError:
            # The caller has gone, and what becomes of the command is not known yet. Changes are
            # made in order, unless they overtake: when one that is asked for now and does not is
            # done, so is the acceptance.
            behind = self._store.apply(BeginSending((), new.accepted_at))
            behind.add_done_callback(partial(self._settled, new.id))
            raise
        except BaseException:
            self._open_commands.give_back(new.id)
            raise
        if accepted.replayed:
            self._open_commands.give_back(new.id)
        if new.nonce is not None:
            new.nonce.is_used_up = True
        return accepted

    def _settled(self, command_id: str, behind: "asyncio.Future[Any]") -> None:
        if not behind.cancelled():
            behind.exception()  # nobody else looks at it
        self._open_commands.give_back(command_id)


def _switched_off(what: str, setting: str) -> DockgateError:
    return DockgateError(
        Reason.FORBIDDEN,
        f"{what} are switched off; the gateway's setting {setting} allows them",
        metadata={"setting": setting},
    )


def _conflict(key: str, command_id: str) -> DockgateError:
    return DockgateError(
        Reason.IDEMPOTENCY_CONFLICT,
        f"idempotency_key {key!r} was used before with other content, for command {command_id}; "
        "a new submission needs a new key",
        metadata={"idempotency_key": key, "command_id": command_id},
    )
