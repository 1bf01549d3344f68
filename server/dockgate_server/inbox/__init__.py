"""The use cases of the inbox: what devices ask, and answering it; the same for every transport."""

from collections.abc import AsyncIterator

import orjson

from dockgate.downlink.v1 import device_request_pb2
from dockgate.downlink.v1 import device_request_service_pb2 as pb
from dockgate_server import command_ids, errors
from dockgate_server.asking import (
    check,
    check_data,
    need,
    next_page,
    out_of_reach,
    page_size,
    position,
)
from dockgate_server.clock import Clock
from dockgate_server.codec import cursor, device_requests, dji_json, envelope
from dockgate_server.codec.redaction import without_secrets
from dockgate_server.devices.reach import Reach
from dockgate_server.devices.registry import Registry
from dockgate_server.errors import DockgateError, FieldViolation, Reason, Subject
from dockgate_server.inbound.request_replies import RequestReplies
from dockgate_server.inbox.watching import Complete, Watching
from dockgate_server.limits import Limits, unlimited
from dockgate_server.model.audit import by
from dockgate_server.model.caller import Caller, Scope
from dockgate_server.model.command import Vendor
from dockgate_server.model.device_request import (
    DeviceRequest,
    Reply,
    ReplySource,
    RequestFilter,
    RequestStatus,
)
from dockgate_server.store.requests import DeviceRequests, RequestPage

_WITHOUT_RESULT = frozenset({"config"})
"""Requests whose answer has no result unless it is a no. Source: DJI's page on config."""


_DEEPEST_PAYLOAD = envelope.DEEPEST - 1
"""As deep as it can be in the body of an HTTP request."""


class Inbox:
    """Seeing and answering the requests of devices.

    Args:
        store: Where requests are.
        replies: Sends answers.
        clock: The time.
        registry: Knows which devices are whose.
        heartbeat_seconds: After how long of nothing a watcher gets a sign of life.
        limits: How many watches may be open; none by default.
    """

    def __init__(
        self,
        store: DeviceRequests,
        replies: RequestReplies,
        clock: Clock,
        registry: Registry,
        *,
        heartbeat_seconds: float = 15.0,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._replies = replies
        self._clock = clock
        self._registry = registry
        watches = (limits or unlimited()).watches
        self._watching = Watching(store, registry, heartbeat_seconds, watches)

    def close(self) -> None:
        """End every watch, and each one that still comes."""
        self._watching.close()

    async def get(self, caller: Caller, request: pb.GetDeviceRequestRequest) -> DeviceRequest:
        """The request as it is now.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, DEVICE_REQUEST_NOT_FOUND.
        """
        need(caller, Scope.REQUESTS_READ)
        return await self._find(caller, _request_id(request))

    async def list(
        self, caller: Caller, request: pb.ListDeviceRequestsRequest
    ) -> tuple[RequestPage, str]:
        """A page of requests, newest first, and the token of the next one ("" behind the last).

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, UNSUPPORTED_VENDOR.
        """
        need(caller, Scope.REQUESTS_READ)
        check(request)
        before = position(cursor.REQUESTS, request.page_token)
        if request.vendor not in ("", Vendor.DJI):
            raise errors.unsupported_vendor(request.vendor, Vendor.DJI.value)
        prefix = "DEVICE_REQUEST_STATUS_"
        names = map(device_request_pb2.DeviceRequestStatus.Name, request.statuses)
        statuses = tuple(RequestStatus(name.removeprefix(prefix)) for name in names)
        reach, among = Reach(self._registry, caller), None
        reach.check_name(request.device_id)
        gateway_id = reach.serial_number(request.device_id)
        which = RequestFilter(gateway_id, request.request_type, statuses)
        if reach.is_limited:
            gateways = await self._store.gateways(caller.tenant)
            among = [one for one in gateways if reach.has_gateway(one)]
        limit = page_size(request.page_size)
        page = await self._store.list(caller.tenant, which, before, limit, among)
        return page, next_page(cursor.REQUESTS, page.next_before)

    async def reply(self, caller: Caller, request: pb.ReplyDeviceRequestRequest) -> DeviceRequest:
        """Answer a request that waits; sending the answer goes on behind this.

        One that the schema calls dangerous needs two scopes, whatever the answer: what a device
        makes of a file beside a no is its own affair.

        Raises:
            DockgateError: VALIDATION_FAILED, FORBIDDEN, DEVICE_REQUEST_NOT_FOUND,
                DEVICE_REQUEST_CLOSED, PAYLOAD_TOO_LARGE, UNAVAILABLE. Nothing was stored.
        """
        need(caller, Scope.REQUESTS_CREATE)
        request_id = _request_id(request)
        payload = _payload(request)
        known = await self._find(caller, request_id)
        is_dangerous = device_requests.is_dangerous(known.request_type)
        if is_dangerous:
            _need_dangerous(caller, known)
        data = {"result": request.reply_code, **payload}
        if known.request_type in _WITHOUT_RESULT and request.reply_code == 0:
            data = payload
        written = orjson.dumps(data)
        check_data(written)
        shown = without_secrets(data, known=device_requests.is_known(known.request_type))
        reply = Reply(
            code=request.reply_code,
            message=request.reply_message,
            source=ReplySource.MANUAL,
            # A Struct has no order; the same answer is to be the same bytes.
            shown=orjson.dumps(shown, option=orjson.OPT_SORT_KEYS),
            is_abridged=shown != data,
            by=caller.principal,
            at=self._clock.now_ms(),
        )
        audit = by(caller, reply.at, "reply_device_request")._replace(
            target=known.id,
            device_id=known.gateway_id,
            method=known.request_type,
            dangerous=is_dangerous,
        )
        answered = await self._replies.answer(known.id, reply, written, audit)
        if answered is not None:
            return answered
        # Somebody was faster, or it was too late; or this is the same answer once more.
        known = await self._find(caller, request_id)
        if known.status is not RequestStatus.REPLIED or not known.has_same_reply(reply):
            raise _closed(known)
        return known

    def watch(
        self, caller: Caller, request: pb.WatchDeviceRequestsRequest
    ) -> AsyncIterator[DeviceRequest | Complete | None]:
        """See :meth:`~dockgate_server.inbox.watching.Watching.watch`."""
        return self._watching.watch(caller, request)

    async def _find(self, caller: Caller, request_id: str) -> DeviceRequest:
        request = await self._store.get(caller.tenant, request_id)
        if request is None:
            raise _not_found(request_id)
        if not Reach(self._registry, caller).has_gateway(request.gateway_id):
            raise out_of_reach(caller, request.gateway_id)
        return request


def _request_id(request: pb.GetDeviceRequestRequest | pb.ReplyDeviceRequestRequest) -> str:
    """Which one it is about, where nothing is wrong with it.

    Raises:
        DockgateError: VALIDATION_FAILED; DEVICE_REQUEST_NOT_FOUND for what is too long to be an
            id.
    """
    if len(request.request_id) > command_ids.LONGEST:
        raise _not_found(request.request_id)
    check(request)
    return request.request_id.lower()


def _not_found(request_id: str) -> DockgateError:
    return DockgateError(
        Reason.DEVICE_REQUEST_NOT_FOUND,
        f"no request {request_id[:100]!r} of a device is known",
        metadata={"device_request_id": request_id},
    )


def _need_dangerous(caller: Caller, request: DeviceRequest) -> None:
    try:
        need(caller, Scope.DANGEROUS)
    except DockgateError as refused:
        refused.subject = Subject(request.gateway_id, request.request_type, is_dangerous=True)
        raise


def _payload(request: pb.ReplyDeviceRequestRequest) -> dict[str, object]:
    """What stands beside the result.

    Raises:
        DockgateError: VALIDATION_FAILED.
    """
    violations = dji_json.unknown_fields(request) + dji_json.non_finite_numbers(request, "")
    payload: dict[str, object] = dji_json.to_dict(request).get("payload", {})
    if envelope.deeper_than(_DEEPEST_PAYLOAD, payload):
        deep = f"must not be nested deeper than {_DEEPEST_PAYLOAD} levels"
        violations.append(FieldViolation("payload", deep))
    if "result" in payload:
        twice = "must not be there: the result is reply_code"
        violations.append(FieldViolation("payload.result", twice))
    if violations:
        raise errors.validation_failed(violations)
    return payload


def _closed(request: DeviceRequest) -> DockgateError:
    if request.status is RequestStatus.EXPIRED:
        why = "nobody answered it in time, and the device no longer waits"
    else:
        why = f"it has been answered otherwise, by {request.replied_by}"
    return DockgateError(
        Reason.DEVICE_REQUEST_CLOSED,
        f"the device's request {request.id} is closed: {why}",
        metadata={"device_request_id": request.id, "status": str(request.status)},
    )
