"""What a signed request must be to be let in, over HTTP."""

import asyncio
from pathlib import Path

import orjson
import pytest
from support.open_api import COMMANDS, JSON, OpenApiUnderTest, serving, submission

BODY = orjson.dumps(submission())
UNKNOWN = f"{COMMANDS}/03fb4905-d3cf-68b0-36fc-36975d618724"


def _headers(api: OpenApiUnderTest, **parts: object) -> dict[str, str]:
    return {**JSON, **api.sign("POST", COMMANDS, BODY, **parts)}


@pytest.mark.parametrize("name", ["X-Api-Id", "X-Api-Timestamp", "X-Api-Nonce", "X-Api-Signature"])
async def test_missing_header_is_named(api: OpenApiUnderTest, name: str) -> None:
    """Without one of its headers a submission has no signature."""
    headers = _headers(api)
    del headers[name]
    answer = await api.send("POST", COMMANDS, headers, BODY)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.body["metadata"] == {"header": name}
    assert answer.headers["WWW-Authenticate"] == "UTMOS-HMAC-SHA256"
    assert await api.nothing_was_stored()


@pytest.mark.parametrize("name", ["X-Api-Id", "X-Api-Timestamp", "X-Api-Nonce", "X-Api-Signature"])
async def test_header_that_is_there_twice_is_refused(api: OpenApiUnderTest, name: str) -> None:
    """Two readers would not agree on which of the two is meant."""
    headers = [*_headers(api).items(), (name, "another")]
    answer = await api.send("POST", COMMANDS, headers, BODY)
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.body["metadata"] == {"header": name}
    assert await api.nothing_was_stored()


async def test_unknown_and_disabled_ids_get_the_same_answer(api: OpenApiUnderTest) -> None:
    """Who may not come in does not learn whether the ID ever existed."""
    disabled = await api.keys.create()
    await api.keys.disable(disabled.key.api_id)
    first = await api.get(UNKNOWN, key=disabled)
    headers = api.sign("GET", UNKNOWN) | {"X-Api-Id": "dk_nobody"}
    second = await api.send("GET", UNKNOWN, headers)
    assert (first.status, first.code) == (second.status, second.code) == (401, "UNAUTHORIZED")
    assert first.body["message"] == second.body["message"]
    assert first.body["metadata"] == second.body["metadata"] == {"header": "X-Api-Id"}


@pytest.mark.parametrize(
    ("skew", "let_in"), [(-301, False), (-299, True), (0, True), (299, True), (301, False)]
)
async def test_timestamp_may_be_up_to_300_s_away(
    api: OpenApiUnderTest, skew: int, let_in: bool
) -> None:
    """Clocks differ, in both directions, but a recorded request grows stale."""
    headers = _headers(api, timestamp=api.now + skew)
    answer = await api.send("POST", COMMANDS, headers, BODY)
    if let_in:
        assert answer.status == 202
        return
    assert (answer.status, answer.code) == (401, "TIMESTAMP_EXPIRED")
    assert answer.body["metadata"] == {
        "server_time": str(api.now),
        "allowed_skew_seconds": "300",
    }
    assert await api.nothing_was_stored()


async def test_order_of_query_pairs_does_not_matter(api: OpenApiUnderTest) -> None:
    """Pairs are sorted before they are signed, so what reorders them breaks nothing."""
    headers = api.sign("GET", UNKNOWN + "?b=%20&a=2&a=1")
    answer = await api.send("GET", UNKNOWN + "?a=1&b=%20&a=2", headers)
    assert answer.code == "COMMAND_NOT_FOUND"


async def test_nonce_can_be_used_once(api: OpenApiUnderTest) -> None:
    """A recorded request is worth nothing, even within the window."""
    headers = _headers(api)
    assert (await api.send("POST", COMMANDS, headers, BODY)).status == 202
    again = await api.send("POST", COMMANDS, headers, BODY)
    assert (again.status, again.code) == (401, "NONCE_REPLAYED")


async def test_nonce_of_another_key_is_another_nonce(api: OpenApiUnderTest) -> None:
    """Callers need not agree on their nonces."""
    other = await api.keys.create()
    for key in (api.key, other):
        answer = await api.send("GET", UNKNOWN, api.sign("GET", UNKNOWN, key=key, nonce="one"))
        assert answer.code == "COMMAND_NOT_FOUND"


async def test_nonce_is_not_used_up_by_a_wrong_signature(api: OpenApiUnderTest) -> None:
    """Who does not know the secret cannot use up the nonces of who does."""
    headers = _headers(api)
    await api.send("POST", COMMANDS, headers | {"X-Api-Signature": "0" * 64}, BODY)
    assert (await api.send("POST", COMMANDS, headers, BODY)).status == 202


async def test_of_two_requests_at_once_with_one_nonce_one_gets_through(
    api: OpenApiUnderTest,
) -> None:
    """The nonce is taken in one step, so there is no moment for a second to slip in."""
    headers = _headers(api)
    answers = await asyncio.gather(*(api.send("POST", COMMANDS, headers, BODY) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [202] + [401] * 7


async def test_a_copy_of_a_refused_request_does_not_succeed_later(tmp_path: Path) -> None:
    """Also what is refused uses its nonce up: by the time of the copy it might be let in."""
    async with serving(tmp_path, limits={"open_commands_per_device": 1}) as api:
        assert (await api.post(orjson.dumps(submission()))).status == 202
        repeated = orjson.dumps(submission())
        same = JSON | api.sign("POST", COMMANDS, repeated)
        assert (await api.send("POST", COMMANDS, same, repeated)).status == 200
        second = orjson.dumps(submission(idempotency_key="another"))
        headers = JSON | api.sign("POST", COMMANDS, second)
        assert (await api.send("POST", COMMANDS, headers, second)).code == "RATE_LIMITED"
        unreadable = b"[1]"
        odd = JSON | api.sign("POST", COMMANDS, unreadable)
        assert (await api.send("POST", COMMANDS, odd, unreadable)).code == "INVALID_REQUEST_BODY"
        for copied, body in ((same, repeated), (headers, second), (odd, unreadable)):
            again = await api.send("POST", COMMANDS, copied, body)
            assert (again.status, again.code) == (401, "NONCE_REPLAYED")


async def test_a_copy_is_not_told_what_a_repetition_is_told(api: OpenApiUnderTest) -> None:
    """The same content with a nonce of its own gets the command from before; a copy does not."""
    headers = _headers(api)
    first = await api.send("POST", COMMANDS, headers, BODY)
    repeated = await api.send("POST", COMMANDS, _headers(api), BODY)
    assert (first.status, repeated.status) == (202, 200)
    assert (await api.send("POST", COMMANDS, headers, BODY)).code == "NONCE_REPLAYED"


async def test_nonce_stays_used_over_a_restart(tmp_path: Path) -> None:
    """A restart does not open the window for a replay."""
    async with serving(tmp_path) as api:
        headers = _headers(api)
        assert (await api.send("POST", COMMANDS, headers, BODY)).status == 202
    async with serving(tmp_path) as api:
        again = await api.send("POST", COMMANDS, headers, BODY)
        assert (again.status, again.code) == (401, "NONCE_REPLAYED")


async def test_get_needs_no_nonce_but_uses_up_the_one_it_has(api: OpenApiUnderTest) -> None:
    """The platform's own GET example carries none."""
    without = api.sign("GET", UNKNOWN, nonce="")
    assert "X-Api-Nonce" not in without
    for _ in range(2):
        assert (await api.send("GET", UNKNOWN, without)).code == "COMMAND_NOT_FOUND"
    with_one = api.sign("GET", UNKNOWN)
    assert (await api.send("GET", UNKNOWN, with_one)).code == "COMMAND_NOT_FOUND"
    assert (await api.send("GET", UNKNOWN, with_one)).code == "NONCE_REPLAYED"
