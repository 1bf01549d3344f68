"""Making JSON responses."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

REQUEST_ID = "X-Request-Id"

_SANE_REQUEST_ID = re.compile(r"[ -~]{1,128}")


def request_id(request: web.BaseRequest) -> str:
    """The id that the caller gave the request, or a new one where it gave none that can be used."""
    given = request.headers.getall(REQUEST_ID, [])
    if len(given) == 1 and _SANE_REQUEST_ID.fullmatch(given[0]):
        return str(given[0])
    return new_request_id()


def new_request_id() -> str:
    """An id for a request whose caller gave none."""
    return str(uuid.uuid4())


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
            # Otherwise aiohttp tells everybody its version and Python's.
            "Server": "dockgate",
        },
    )
