"""The OpenAPI document and the pages made from it, for whoever asks: there is nothing secret in it.

The pages need nothing from any other host, run nothing, and may not be made to: their
Content-Security-Policy allows a browser our own style sheet and no more.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from dockgate_server import docs
from dockgate_server.docs.reference import DOCUMENT, PAGES, STYLE
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.http.responses import SAFETY
from dockgate_server.request_ids import REQUEST_ID

if TYPE_CHECKING:
    from dockgate_server.docs.page import Reference

_HEADERS = {
    # It changes with the gateway's version; a browser asks, and is told that nothing has.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    **SAFETY,
}
_NOT_MODIFIED = 304
_HTML = "text/html; charset=utf-8"

PATHS = re.compile(
    "|".join(map(re.escape, (DOCUMENT, PAGES, f"{PAGES}/", STYLE)))
    + f"|{PAGES}/methods/[a-z0-9_]{{1,64}}"
)
"""Where it is served; the first page also with a slash, as people type it."""


@dataclass(frozen=True, slots=True)
class _Content:
    """Something that is served as it is."""

    content_type: str
    content: bytes
    etag: str


class ReferencePages:
    """What is served beside the API itself. Pages are made when they are first asked for."""

    def __init__(self) -> None:
        self._pages: Reference | None = None
        # No larger than there are pages: what does not exist is not kept.
        self._made: dict[str, _Content] = {}

    async def answer(
        self, request: web.BaseRequest, asked: str, match: "re.Match[str]"
    ) -> web.Response:
        """The content at a path that fits ``PATHS``, or that the client has it already.

        Raises:
            DockgateError: NOT_FOUND.
        """
        path = match[0].rstrip("/")
        found = self._made.get(path)
        if found is None:
            content_type, content = self._make(path)
            etag = hashlib.sha256(content).hexdigest()[:32]
            found = self._made[path] = _Content(content_type, content, etag)
        headers = {**_HEADERS, "ETag": f'"{found.etag}"', REQUEST_ID: asked}
        if any(one.value in (found.etag, "*") for one in request.if_none_match or ()):
            return web.Response(status=_NOT_MODIFIED, headers=headers)
        headers["Content-Type"] = found.content_type
        return web.Response(body=found.content, headers=headers)

    def _make(self, path: str) -> tuple[str, bytes]:
        if path == DOCUMENT:
            return "application/json", docs.openapi_json()
        if path == STYLE:
            style = resources.files(docs).joinpath("style.css")
            return "text/css; charset=utf-8", style.read_bytes()
        if self._pages is None:
            # Here, as a Markdown parser is large, and few ask for pages.
            from dockgate_server.docs.page import Reference

            self._pages = Reference(orjson.loads(docs.openapi_json()))
        if path == PAGES:
            return _HTML, self._pages.index().encode()
        name = path.rpartition("/")[2]
        if name not in self._pages.methods:
            raise DockgateError(Reason.NOT_FOUND, f"there is no command_type {name!r}")
        return _HTML, self._pages.method(name).encode()
