"""The open API's endpoints on top of the use cases. Source: the open-api contract."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate.downlink.v1 import device_request_service_pb2 as inbox_pb
from dockgate_server.access import signature
from dockgate_server.access.verifier import Proven, SignedRequest, Verifier, never
from dockgate_server.audit import Refused, unheard
from dockgate_server.commands import Commands
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.http import body, convert, device_requests, origin, reference
from dockgate_server.http.errors import error_response, internal_error
from dockgate_server.http.origin import OriginOf
from dockgate_server.http.responses import json_response, request_id
from dockgate_server.inbox import Inbox
from dockgate_server.limits import unlimited
from dockgate_server.limits.refusals import Refusals
from dockgate_server.model.caller import Caller, Origin

COMMANDS_PATH = "/api/v1/open/downlink/commands"
REQUESTS_PATH = "/api/v1/open/device-requests"

_CALLER = web.RequestKey("caller", Caller)
"""Who asks, on the request once that is proven."""

_ORIGIN = web.RequestKey("origin", Origin)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_log = structlog.get_logger(__name__)

_Handler = Callable[[web.BaseRequest, str, "re.Match[str]"], Awaitable[web.Response]]
_Handlers = Mapping[str, tuple[str, _Handler]]
"""By the HTTP method, what the audit log calls the request, and what answers it."""

_UNKNOWN = "http"
"""What it calls a request to nowhere."""


class OpenApi:
    """Answers HTTP requests.

    Args:
        commands: The use cases.
        verifier: Finds out who asks.
        max_body_bytes: The largest request body.
        body_seconds: The longest that sending a body may take.
        inbox: The use cases about the requests of devices, where they are served.
        origin_of: Where a request comes from.
        refused: Hears of each request that is refused.
        refusals: Writes them down.
    """

    def __init__(
        self,
        commands: Commands,
        verifier: Verifier,
        max_body_bytes: int,
        body_seconds: float,
        inbox: Inbox | None = None,
        *,
        origin_of: OriginOf = origin.of_socket,
        refused: Refused = unheard,
        refusals: Refusals | None = None,
    ) -> None:
        self._refusals = refusals or unlimited().refusals
        self._origin_of = origin_of
        self._refused = refused
        self._commands = commands
        self._verifier = verifier
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        pages = reference.ReferencePages()
        # Over the path as sent, which is what was signed: "comm%61nds" is another path.
        self._routes: list[tuple[re.Pattern[str], _Handlers]] = [
            (re.compile(re.escape(COMMANDS_PATH)), {"POST": ("submit_command", self._submit)}),
            (
                re.compile(f"{re.escape(COMMANDS_PATH)}/([^/]+)"),
                {"GET": ("get_command", self._get)},
            ),
            (reference.PATHS, dict.fromkeys(("GET", "HEAD"), ("get_reference", pages.answer))),
        ]
        if inbox is not None:
            path = re.escape(REQUESTS_PATH)
            listing = partial(self._list_requests, inbox)
            getting = partial(self._get_request, inbox)
            reply = partial(self._reply, inbox)
            self._routes += [
                (re.compile(path), {"GET": ("list_device_requests", listing)}),
                (re.compile(f"{path}/([^/]+)"), {"GET": ("get_device_request", getting)}),
                (re.compile(f"{path}/([^/]+)/reply"), {"POST": ("reply_device_request", reply)}),
            ]

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a request, whatever it is."""
        asked = request_id(request)
        path, _ = _target(request)
        action = _UNKNOWN
        request[_ORIGIN] = self._origin_of(request, asked)
        # The connection's next request binds its own.
        structlog.contextvars.bind_contextvars(request_id=asked)
        try:
            (action, handler), match = self._find(request.method, path)
            return await handler(request, asked, match)
        except DockgateError as error:
            if error.reason is Reason.NONCE_REPLAYED:
                request.pop(_CALLER, None)  # a copy may come from anybody
            where = {"method": request.method, "path": path[:200]}
            known = request.get(_CALLER) is not None
            self._refusals.tell("http_refused", error.reason, proven=known, **where)
            self._audit(request, action, error)
            return error_response(error, asked)
        except Exception as error:
            _log.error("internal_error", method=request.method, path=path[:200], exc_info=error)
            self._audit(request, action, internal_error())
            return error_response(internal_error(), asked)

    def unreadable(
        self, transport: asyncio.BaseTransport | None, asked: str, error: DockgateError
    ) -> None:
        """Take note of what was refused before it was read as a request."""
        where = Origin("http", origin.peer(transport), asked)
        self._refused(None, "", where, _UNKNOWN, error)

    def _audit(self, request: web.BaseRequest, action: str, error: DockgateError) -> None:
        claimed = request.headers.get(signature.API_ID, "")
        self._refused(request.get(_CALLER), claimed, request[_ORIGIN], action, error)

    def _find(self, method: str, path: str) -> "tuple[tuple[str, _Handler], re.Match[str]]":
        for pattern, handlers in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if method not in handlers:
                allowed = ", ".join(handlers)
                raise DockgateError(
                    Reason.METHOD_NOT_ALLOWED,
                    f"{method[:20]} is not possible here; possible is {allowed}",
                    metadata={"allowed": allowed},
                )
            return handlers[method], match
        raise DockgateError(Reason.NOT_FOUND, f"there is nothing at {path[:200]!r}")

    async def _submit(
        self, request: web.BaseRequest, asked: str, match: "re.Match[str]"
    ) -> web.Response:
        caller, raw, proven = await self._proven(
            request, is_json=True, is_emergency=convert.is_emergency
        )
        # The nonce is used up in the transaction of the command: one commit for both.
        async with self._verifier.once(proven):
            submission = convert.submission(body.parse_object(raw))
            try:
                accepted = await self._commands.submit(caller, submission, proven.nonce)
            except DockgateError as error:
                command_type = submission.dji.WhichOneof("method") or ""
                raise convert.in_terms_of_json(error, command_type) from error
        status = 200 if accepted.replayed else 202
        return json_response(status, convert.accepted(accepted.command, asked), asked)

    async def _get(
        self, request: web.BaseRequest, asked: str, match: "re.Match[str]"
    ) -> web.Response:
        caller, _ = await self._verified(request, is_json=False)
        command_id = _id(match, Reason.COMMAND_NOT_FOUND, "command")
        command = await self._commands.get(caller, pb.GetCommandRequest(command_id=command_id))
        model = self._commands.model_of(command.gateway_id)
        return json_response(200, convert.status(command, asked, model), asked)

    async def _list_requests(
        self, inbox: Inbox, request: web.BaseRequest, asked: str, match: "re.Match[str]"
    ) -> web.Response:
        caller, _ = await self._verified(request, is_json=False)
        _, query = _target(request)
        listing = device_requests.listing(query)
        items: list[dict[str, Any]] = []
        # A page may have fewer than it was asked for.
        while True:
            page, listing.page_token = await inbox.list(caller, listing)
            items += map(device_requests.document, page.requests)
            if not listing.page_token or len(items) >= device_requests.MOST_LISTED:
                break
            listing.page_size = device_requests.MOST_LISTED - len(items)
        return json_response(200, {"items": items}, asked)

    async def _get_request(
        self, inbox: Inbox, request: web.BaseRequest, asked: str, match: "re.Match[str]"
    ) -> web.Response:
        caller, _ = await self._verified(request, is_json=False)
        which = _id(match, Reason.DEVICE_REQUEST_NOT_FOUND, "device_request")
        found = await inbox.get(caller, inbox_pb.GetDeviceRequestRequest(request_id=which))
        return json_response(200, device_requests.document(found), asked)

    async def _reply(
        self, inbox: Inbox, request: web.BaseRequest, asked: str, match: "re.Match[str]"
    ) -> web.Response:
        caller, raw = await self._verified(request, is_json=True)
        which = _id(match, Reason.DEVICE_REQUEST_NOT_FOUND, "device_request")
        reply = device_requests.reply(which, body.parse_object(raw))
        answered = await inbox.reply(caller, reply)
        return json_response(202, device_requests.document(answered), asked)

    async def _verified(self, request: web.BaseRequest, *, is_json: bool) -> tuple[Caller, bytes]:
        """The caller and the raw body; a copy of an earlier request is refused."""
        caller, raw, proven = await self._proven(request, is_json=is_json)
        async with self._verifier.once(proven):
            return caller, raw

    async def _proven(
        self,
        request: web.BaseRequest,
        *,
        is_json: bool,
        is_emergency: Callable[[bytes], bool] = never,
    ) -> tuple[Caller, bytes, Proven]:
        """The caller and the raw body, of which nothing has been parsed before this."""
        body.check_length(request, self._max_body_bytes)
        if is_json:
            body.check_json_type(request)
        raw = await body.read(request, self._max_body_bytes, self._body_seconds)
        path, query = _target(request)
        signed = SignedRequest(
            request.method, path, query, headers=request.headers.items(), body=raw
        )
        # Who sends too much is not known as the caller yet: that may be the sender of a copy.
        proven = await self._verifier.proven(signed, is_emergency)
        who = proven.caller
        # Written out: dataclasses.replace() takes three times as long, and every call comes here.
        caller = Caller(who.tenant, who.principal, who.scopes, who.devices, request[_ORIGIN])
        request[_CALLER] = caller
        return caller, raw, proven


def _id(match: "re.Match[str]", unknown: Reason, what: str) -> str:
    """The id in the path. One that is none is an unknown one: to a caller that is the same."""
    found = match[1].lower()
    if not _UUID.fullmatch(found):
        raise DockgateError(
            unknown,
            f"no {what.replace('_', ' ')} {match[1][:100]!r} is known",
            metadata={f"{what}_id": match[1]},
        )
    return found


def _target(request: web.BaseRequest) -> tuple[str, str]:
    """Path and query as sent."""
    target = request.raw_path
    if not target.startswith("/"):
        # A client that believes it talks to a proxy sends the whole URL (RFC 9112, 3.2.2).
        target = re.sub(r"^https?://[^/?]*", "", target, count=1, flags=re.IGNORECASE)
    path, _, query = target.partition("?")
    return path, query
