"""Where a request ends is no matter of taste: what could be read in two ways is not read at all."""

import pytest
from support.open_api import COMMANDS, JSON, OpenApiUnderTest
from support.raw_http import exchange, request

from security.attacks import BODY
from security.conftest import stored
from security.framing import UNREADABLE, VERSIONS, Framing

CONTROL = Framing("nothing wrong", "Content-Length: 2\n", b"{}")


async def test_what_is_hidden_would_be_served_if_it_were_a_request(api: OpenApiUnderTest) -> None:
    """Otherwise the tests below would show nothing."""
    first, second = await exchange(api.server.address, CONTROL.bytes_for(api))
    assert (first.status, second.status) == (401, 202)


@pytest.mark.parametrize("framing", UNREADABLE, ids=lambda framing: framing.name)
async def test_unclear_framing_ends_the_connection(api: OpenApiUnderTest, framing: Framing) -> None:
    """One refusal, and nothing of what follows is looked at."""
    before = stored(api)
    [answer] = await exchange(api.server.address, framing.bytes_for(api))
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST_BODY")
    assert stored(api) == before
    assert api.bridge.published == []


@pytest.mark.parametrize("sent", VERSIONS, ids=lambda sent: repr(sent[:30]))
async def test_other_protocols_are_refused(api: OpenApiUnderTest, sent: bytes) -> None:
    """No tunnel, no other version, no upgrade."""
    found = await exchange(
        api.server.address, sent + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    )
    assert found
    assert {answer.status for answer in found} <= {400, 404, 405}
    [honest] = await exchange(
        api.server.address,
        request("POST", COMMANDS, (JSON | api.sign("POST", COMMANDS, BODY)).items(), BODY),
    )
    assert honest.status == 202


@pytest.mark.parametrize("number", [b"9" * 10_000_000, b"1e" + b"9" * 10_000_000])
async def test_a_number_of_10_mb_is_not_read(api: OpenApiUnderTest, number: bytes) -> None:
    """Its length alone refuses it, before anything is computed or kept."""
    body = BODY.replace(b'"dji"', number)
    headers = JSON | api.sign("POST", COMMANDS, body)
    [answer] = await exchange(api.server.address, request("POST", COMMANDS, headers.items(), body))
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert await api.nothing_was_stored()


async def test_a_body_in_endless_chunks_is_cut_off(api: OpenApiUnderTest) -> None:
    """What does not say how long it is may not be longer for that."""
    head = request(
        "POST",
        COMMANDS,
        {**JSON, **api.sign("POST", COMMANDS, BODY), "Transfer-Encoding": "chunked"}.items(),
    )
    [answer] = await exchange(api.server.address, head + b"1000\r\n" + b" " * 4096 + b"\r\n" * 1)
    assert answer.status == 400
    [answer] = await exchange(
        api.server.address, head + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 100
    )
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert await api.nothing_was_stored()
