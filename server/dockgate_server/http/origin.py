"""Where a request comes from, for the audit log."""

import asyncio
import ipaddress
from collections.abc import Callable

from aiohttp import web

from dockgate_server.model.caller import Origin

OriginOf = Callable[[web.BaseRequest, str], Origin]


def of_socket(request: web.BaseRequest, request_id: str) -> Origin:
    """From the other end of the connection."""
    return Origin("http", peer(request.transport), request_id)


def of_proxy(request: web.BaseRequest, request_id: str) -> Origin:
    """From whom the proxy in front of us names: the last one in X-Forwarded-For.

    The ones before it came with the request, and may be anything.
    """
    named = ",".join(request.headers.getall("X-Forwarded-For", ())).rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(named)
    except ValueError:
        return of_socket(request, request_id)
    host = f"[{address}]" if address.version == 6 else str(address)
    return Origin("http", host, request_id)


def peer(transport: asyncio.BaseTransport | None) -> str:
    """HOST:PORT of the other end of a connection; empty when it is gone."""
    name = None if transport is None else transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return ""
    host, port, *_ = name
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
