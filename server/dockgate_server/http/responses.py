"""Making JSON responses."""

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from dockgate_server import request_ids
from dockgate_server.request_ids import REQUEST_ID

SAFETY = {
    # Otherwise aiohttp tells everybody its version and Python's.
    "Server": "dockgate",
    # What a caller sent comes back in errors; no browser may take it for anything but JSON.
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response."""


def request_id(request: web.BaseRequest) -> str:
    """The id that the caller gave the request, or a new one where it gave none that can be used."""
    return request_ids.choose(request.headers.getall(REQUEST_ID, []))


def json_response(status: int, body: Mapping[str, Any], of_request: str) -> web.Response:
    """A response with a JSON body.

    Args:
        status: The HTTP status.
        body: What orjson can write; bytes that are JSON already go in as ``orjson.Fragment``.
        of_request: The request's id, for the header.
    """
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers={
            "Content-Type": "application/json",
            # A status is true only at the moment; no cache may answer in our place.
            "Cache-Control": "no-store",
            REQUEST_ID: of_request,
            **SAFETY,
        },
    )
