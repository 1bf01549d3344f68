"""The reference as pages: complete, and in need of nobody else."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from dockgate_server.codec import catalogue
from dockgate_server.docs.page import Reference
from dockgate_server.docs.reference import STYLE
from dockgate_server.errors import Reason

_VOID = {"meta", "link", "br", "hr"}


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in _VOID:
            self._open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.anchors.add(value or "")
            elif name in ("href", "src"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def reference(openapi: dict[str, Any]) -> Reference:
    return Reference(openapi)


@pytest.fixture(scope="module")
def index(reference: Reference) -> Page:
    return Page(reference.index())


@pytest.fixture(scope="module")
def pages(reference: Reference) -> dict[str, Page]:
    """The page of each command_type."""
    return {name: Page(reference.method(name)) for name in reference.methods}


def test_every_command_type_has_a_page_that_the_index_leads_to(
    index: Page, pages: dict[str, Page]
) -> None:
    """Raw methods too."""
    assert set(pages) == {*catalogue.METHODS, catalogue.RAW}
    assert {f"/docs/methods/{name}" for name in pages} <= set(index.links)


def test_every_endpoint_header_and_error_is_on_the_index(
    index: Page, openapi: dict[str, Any]
) -> None:
    """With the words of the schema."""
    for path in openapi["paths"]:
        assert path in index.text
    for scheme in openapi["components"]["securitySchemes"].values():
        assert scheme["name"] in index.text
    missing = [reason for reason in Reason if reason not in index.text]
    assert set(missing) <= {"CURSOR_OUT_OF_RANGE", "CURSOR_EXPIRED", "COMMAND_NOT_CANCELLABLE"}


def test_what_is_said_of_an_endpoint_as_a_whole_is_on_the_index(
    index: Page, openapi: dict[str, Any]
) -> None:
    """Above all why one id is not found and another one refused."""
    operation = openapi["paths"]["/api/v1/open/downlink/commands/{commandId}"]["get"]
    said = " ".join(operation["description"].split())
    assert "another tenant" in said
    assert re.search(r"404.*403", said)
    assert said in " ".join(index.text.split())


def test_links_lead_to_our_own_pages(index: Page, pages: dict[str, Page]) -> None:
    """To no other host, and to nothing that is not there."""
    known = {"/docs", "/openapi.json", STYLE, *(f"/docs/methods/{name}" for name in pages)}
    for page in (index, *pages.values()):
        for link in page.links:
            path, _, anchor = link.partition("#")
            assert path in known or not path
            if anchor:
                assert anchor in index.anchors


def test_nothing_in_a_page_runs_or_brings_its_own_style(
    index: Page, pages: dict[str, Page]
) -> None:
    """So that the Content-Security-Policy can forbid both."""
    for page in (index, *pages.values()):
        assert not page.tags & {"script", "style", "iframe", "img", "object", "form", "base"}
        assert not any(re.match("on|style", name) for name in page.attributes)


def test_fields_are_shown_at_every_depth(pages: dict[str, Page]) -> None:
    """By their paths, as errors name them."""
    text = pages["fileupload_start"].text
    assert "params.files[].list[].boot_index" in text
    assert "credentials.access_key_secret" in text


def test_dangers_are_said(index: Page, pages: dict[str, Page]) -> None:
    """On the page of the method and in the list."""
    for name, method in catalogue.METHODS.items():
        assert ("open:command:dangerous" in pages[name].text) == method.spec.dangerous
    assert "takeoff_to_point dangerous" in index.text


def test_what_the_schema_says_is_shown_and_not_obeyed(openapi: dict[str, Any]) -> None:
    """A comment with HTML in it stays text."""
    evil = '<script>alert("1")</script> [x](https://elsewhere.example) ![i](//elsewhere.example)'
    info = {**openapi["info"], "title": evil, "description": evil}
    page = Page(Reference({**openapi, "info": info}).index())
    assert "script" not in page.tags
    assert not any("elsewhere" in link for link in page.links)
    assert '<script>alert("1")</script>' in page.text
