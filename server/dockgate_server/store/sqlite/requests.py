"""The requests of devices on SQLite."""

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from dockgate_server.model.audit import Entry
from dockgate_server.model.device_request import (
    DeviceRequest,
    NewRequest,
    Reply,
    ReplySource,
    RequestFilter,
    RequestStatus,
    Routing,
)
from dockgate_server.store.requests import RequestPage
from dockgate_server.store.sqlite.audit import SqliteAudit
from dockgate_server.store.sqlite.database import Database
from dockgate_server.store.sqlite.queries import REQUESTS
from dockgate_server.store.sqlite.rows import Row
from dockgate_server.store.sqlite.transaction import Transaction

REQUESTS_KEPT = 10_000
"""Requests that are kept; those that are not closed come on top."""

_NEWEST = 1 << 62
_LARGE = itemgetter(*map(DeviceRequest.__slots__.index, ("payload", "reply")))
_NO_REPLY = dict.fromkeys(("code", "source", "shown", "at")) | {
    "message": "",
    "by": "",
    "is_abridged": False,
}


class SqliteRequests:
    """See :class:`~dockgate_server.store.requests.DeviceRequests`."""

    def __init__(self, db: Database, audit: SqliteAudit) -> None:
        self._db = db
        self._audit = audit
        self.on_change: Callable[[DeviceRequest], None] = _nobody_asks

    def record(self, new: NewRequest, reply: Reply | None) -> asyncio.Future[DeviceRequest]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        status = RequestStatus.PENDING if reply is None else RequestStatus.REPLIED
        values = {name: getattr(new, name) for name in new.__slots__}
        values |= {"status": status, **(_NO_REPLY if reply is None else _values(reply))}
        return self._told(partial(_insert, values=values))

    def answer(
        self, request_id: str, reply: Reply, outgoing: bytes, audit: Entry | None = None
    ) -> asyncio.Future[DeviceRequest | None]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        values = {"id": request_id, "outgoing": outgoing, **_values(reply)}
        change = partial(_update, query=REQUESTS["answer"], values=values)
        return self._told(self._audit.recorded(change, audit))

    def sent(self, request_id: str) -> asyncio.Future[None]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        return self._db.execute(REQUESTS["sent"], {"id": request_id})

    def expire(self, request_id: str) -> asyncio.Future[DeviceRequest | None]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        return self._changed("expire", id=request_id)

    def not_sent(self, request_id: str) -> asyncio.Future[DeviceRequest | None]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        return self._changed("not_sent", id=request_id)

    async def find(self, repeat_key: bytes) -> DeviceRequest | None:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        row = await self._db.one(REQUESTS["find"], {"repeat_key": repeat_key})
        return None if row is None else _request(row)

    async def get(self, tenant: str, request_id: str) -> DeviceRequest | None:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        row = await self._db.one(REQUESTS["get"], {"tenant": tenant, "id": request_id})
        return None if row is None else _request(row)

    async def list(
        self,
        tenant: str,
        which: RequestFilter,
        before: int | None,
        limit: int,
        among: Collection[str] | None = None,
    ) -> RequestPage:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        values = {
            "tenant": tenant,
            "gateway_id": which.gateway_id,
            "gateways": None if among is None else json.dumps([*among]),
            "request_type": which.request_type,
            "statuses": json.dumps(which.statuses),
            "before": _NEWEST if before is None else before,
        }
        found, more = await self._db.page(REQUESTS["list"], values, limit, _LARGE)
        return RequestPage(tuple(map(_request, found)), found[-1][0] if more else None)

    async def gateways(self, tenant: str) -> Collection[str]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        found = await self._db.all(REQUESTS["gateways"], {"tenant": tenant})
        return [gateway_id for (gateway_id,) in found]

    async def waiting(self) -> Sequence[DeviceRequest]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        return [_request(row) for row in await self._db.all(REQUESTS["waiting"], {})]

    async def unsent(self) -> Sequence[tuple[DeviceRequest, bytes]]:
        """See :class:`~dockgate_server.store.requests.DeviceRequests`."""
        rows = await self._db.all(REQUESTS["unsent"], {})
        return [(_request(row), row[-1]) for row in rows]

    def _changed(self, query: str, **values: Any) -> asyncio.Future[DeviceRequest | None]:
        return self._told(partial(_update, query=REQUESTS[query], values=values))

    def _told(self, change: Callable[[Transaction], DeviceRequest | None]) -> "asyncio.Future[Any]":
        changing = self._db.submit(change)
        changing.add_done_callback(self._tell)
        return changing

    def _tell(self, changing: "asyncio.Future[DeviceRequest | None]") -> None:
        if changing.cancelled() or changing.exception() is not None:
            return
        if (request := changing.result()) is not None:
            self.on_change(request)


def _insert(tx: Transaction, values: dict[str, Any]) -> DeviceRequest:
    request = _request(tx.db.execute(REQUESTS["insert"], values).fetchone())
    tx.db.execute(REQUESTS["trim"], {"up_to": request.seq - REQUESTS_KEPT})
    return request


def _update(tx: Transaction, query: str, values: dict[str, Any]) -> DeviceRequest | None:
    row = tx.db.execute(query, values).fetchone()
    return None if row is None else _request(row)


def _values(reply: Reply) -> dict[str, Any]:
    return {name: getattr(reply, name) for name in reply.__slots__}


def _request(row: Row) -> DeviceRequest:
    """A row of `device_request`."""
    values = dict(zip(DeviceRequest.__slots__, row, strict=False))
    source = values["reply_source"]
    return DeviceRequest(
        **values
        | {
            "routing": Routing(values["routing"]),
            "status": RequestStatus(values["status"]),
            "reply_source": ReplySource(source) if source else None,
            "is_abridged": bool(values["is_abridged"]),
        }
    )


def _nobody_asks(request: DeviceRequest) -> None:
    """What is done with news that nobody has asked for."""
