"""The OpenAPI document and the reference pages, as they are served."""

import re
from collections.abc import Mapping

import pytest
from support.open_api import OpenApiUnderTest

from dockgate_server import docs

PATHS = {
    "/openapi.json": "application/json",
    "/docs": "text/html; charset=utf-8",
    "/docs/": "text/html; charset=utf-8",
    "/docs/style.css": "text/css; charset=utf-8",
    "/docs/methods/takeoff_to_point": "text/html; charset=utf-8",
}


async def _get(
    api: OpenApiUnderTest, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, Mapping[str, str], bytes]:
    url = f"http://{api.server.address}{path}"
    async with api.session.request(method, url, headers=headers) as response:
        return response.status, response.headers, await response.read()


@pytest.mark.parametrize("path", PATHS)
async def test_everything_is_there_without_a_signature(api: OpenApiUnderTest, path: str) -> None:
    """And carries an id, like every answer."""
    status, headers, content = await _get(api, path, {"X-Request-Id": "mine"})
    assert (status, headers["Content-Type"]) == (200, PATHS[path])
    assert headers["X-Request-Id"] == "mine"
    assert content


async def test_the_document_is_the_packaged_one(api: OpenApiUnderTest) -> None:
    """Byte for byte; a query changes nothing."""
    for path in ("/openapi.json", "/openapi.json?v=1"):
        _, _, content = await _get(api, path)
        assert content == docs.openapi_json()


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_is_bound_to_its_own_host(api: OpenApiUnderTest, path: str) -> None:
    """What is linked as a part of it is from here, and a browser is told to load nothing else."""
    _, headers, content = await _get(api, path)
    policy = dict(part.split(maxsplit=1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["style-src"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "dockgate"
    if path != "/openapi.json":
        assert not re.search(rb"""(href|src|url\(|@import)\W{0,3}(https?:)?//""", content)


@pytest.mark.parametrize("path", PATHS)
async def test_who_has_it_already_is_not_sent_it_again(api: OpenApiUnderTest, path: str) -> None:
    """By ETag, also one among several, and also a weak one."""
    _, headers, _ = await _get(api, path)
    etag = headers["ETag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        status, again, content = await _get(api, path, {"If-None-Match": known})
        assert (status, content, again["ETag"]) == (304, b"", etag)
    for other in ('"other"', "nonsense", ""):
        assert (await _get(api, path, {"If-None-Match": other}))[0] == 200


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_the_same_without_a_body(api: OpenApiUnderTest, path: str) -> None:
    """With the length that there would be."""
    _, shown, content = await _get(api, path)
    status, headers, nothing = await _get(api, path, method="HEAD")
    assert (status, nothing) == (200, b"")
    assert int(headers["Content-Length"]) == len(content)
    assert headers["ETag"] == shown["ETag"]


async def test_other_verbs_are_refused(api: OpenApiUnderTest) -> None:
    """It is for reading."""
    answer = await api.send("POST", "/docs", {})
    assert (answer.status, answer.code) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/docs//",
        "/docs/methods/",
        "/docs/methods/no_such_method",
        "/docs/methods/..%2f",
        "/docs/../openapi.json",
    ],
)
async def test_what_is_not_there_is_not_found(api: OpenApiUnderTest, path: str) -> None:
    """No path leads to a file."""
    answer = await api.send("GET", path, {})
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
