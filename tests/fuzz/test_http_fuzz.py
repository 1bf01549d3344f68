"""The fuzz target of the HTTP path, for a few seconds; `make fuzz` has more time."""

import random
from pathlib import Path

import pytest
from aiohttp import web
from support.open_api import serving

from dockgate_server.http.open_api import OpenApi
from fuzz import http
from fuzz.requests import Drawer

SEED = 20_261_120


def test_nothing_that_a_stranger_sends_does_harm() -> None:
    """And enough of it gets far enough to do some."""
    report = http.run(SEED, 5)
    assert report.failures == []
    for what in ("answered 202", "answered 400", "answered 401", "answered 404", "commands stored"):
        assert report.seen[what], f"no input led to {what} any more, so less is shown"
    for code in ("SIGNATURE_INVALID", "VALIDATION_FAILED", "INVALID_REQUEST_BODY"):
        assert report.seen[f"refused {code}"], f"no input was refused as {code} any more"


async def test_a_seed_draws_the_same_requests_again(tmp_path: Path) -> None:
    """So what fails once can be looked at."""
    async with serving(tmp_path) as api:
        first, second = (
            [drawer.connection() for _ in range(200)]
            for drawer in (Drawer(random.Random(7), api), Drawer(random.Random(7), api))
        )
    assert first == second


def test_a_fault_is_found_and_its_seed_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that finds nothing has to show that it can."""
    handle = OpenApi.handle

    async def broken(self: OpenApi, request: web.BaseRequest) -> web.Response:
        if "X-Api-Nonce" not in request.headers:
            raise RuntimeError("a fault that was put there")
        return await handle(self, request)

    monkeypatch.setattr(OpenApi, "handle", broken)
    report = http.run(SEED, 5)
    assert report.failures
    assert report.failing_seed is not None
    assert http.run(report.failing_seed, 0).failures
