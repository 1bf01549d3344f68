"""The check of a signed request, without HTTP."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.clock import ManualClock

from dockgate_server.access import signature
from dockgate_server.access.keys import Keys, NewKey
from dockgate_server.access.opening import CACHE_SECONDS, NEW_SECONDS
from dockgate_server.access.verifier import SignedRequest, Verifier
from dockgate_server.config.limits import LimitsSection
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.limits import Limits
from dockgate_server.model.caller import Caller
from dockgate_server.store.sqlite import SqliteStore

PATH = "/api/v1/open/downlink/commands"


@dataclass
class Bundle:
    clock: ManualClock
    store: SqliteStore
    keys: Keys
    elsewhere: Keys
    """The same keys, as another process sees them."""
    verifier: Verifier
    key: NewKey
    database: Path

    def request(self, method: str = "POST", nonce: str = "n-1", **other: str) -> SignedRequest:
        headers = signature.signed_headers(
            api_id=self.key.key.api_id,
            secret=self.key.secret,
            method=method,
            target=PATH,
            timestamp=self.clock.now_ms() // 1000,
            nonce=nonce,
        )
        lines = {**headers, **{name.replace("_", "-"): value for name, value in other.items()}}
        return SignedRequest(method, PATH, "", tuple(lines.items()), b"")

    async def verify(self, request: SignedRequest) -> Caller:
        """Let it do nothing, once."""
        proven = await self.verifier.proven(request)
        async with self.verifier.once(proven):
            return proven.caller

    def nonces(self) -> int:
        database = sqlite3.connect(self.database)
        [(count,)] = database.execute("SELECT count(*) FROM nonce").fetchall()
        database.close()
        return int(count)


@pytest.fixture
async def bundle(tmp_path: Path) -> AsyncIterator[Bundle]:
    clock = ManualClock()
    async with SqliteStore(tmp_path / "dockgate.db") as store:
        keys, elsewhere = (Keys(store, tmp_path / "sealing.key", clock) for _ in range(2))
        verifier = Verifier(store, keys, clock, skew_seconds=300)
        key = await keys.create(tenant="one")
        yield Bundle(clock, store, keys, elsewhere, verifier, key, tmp_path / "dockgate.db")


async def _refusal(bundle: Bundle, request: SignedRequest) -> DockgateError:
    with pytest.raises(DockgateError) as raised:
        await bundle.verify(request)
    return raised.value


async def test_caller_is_the_tenant_and_the_api_id(bundle: Bundle) -> None:
    """Everything behind the check acts on behalf of the key's tenant."""
    caller = await bundle.verify(bundle.request())
    assert (caller.tenant, caller.principal) == ("one", bundle.key.key.api_id)


async def test_header_names_have_no_case(bundle: Bundle) -> None:
    """HTTP does not tell them apart, and neither do proxies."""
    request = bundle.request()
    lower = tuple((name.lower(), value) for name, value in request.headers)
    await bundle.verify(replace(request, headers=lower))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X_Api_Id", "i" * 65),
        ("X_Api_Id", "two words"),
        ("X_Api_Id", "é"),
        ("X_Api_Timestamp", "now"),
        ("X_Api_Timestamp", "-1"),
        ("X_Api_Timestamp", "1776859200.5"),
        ("X_Api_Timestamp", "٣"),
        ("X_Api_Timestamp", "9" * 5000),
        ("X_Api_Nonce", "n" * 129),
        ("X_Api_Nonce", "line\nbreak"),
        ("X_Api_Nonce", "é"),
        ("X_Api_Nonce", ""),
    ],
)
async def test_malformed_header_is_named(bundle: Bundle, name: str, value: str) -> None:
    """What cannot be right is refused before anything is looked up."""
    error = await _refusal(bundle, bundle.request(**{name: value}))
    assert error.reason is Reason.UNAUTHORIZED
    assert error.metadata == {"header": name.replace("_", "-")}


async def test_both_secrets_are_good_while_keys_are_rotated(bundle: Bundle) -> None:
    """Callers change over one by one; then the older one ends."""
    before = bundle.key
    bundle.key = await bundle.keys.rotate(before.key.api_id)
    await bundle.verify(bundle.request(nonce="new"))
    after, bundle.key = bundle.key, before
    await bundle.verify(bundle.request(nonce="old"))
    await bundle.keys.finish_rotation(before.key.api_id)
    assert (await _refusal(bundle, bundle.request(nonce="n"))).reason is Reason.SIGNATURE_INVALID
    bundle.key = after
    await bundle.verify(bundle.request(nonce="n"))


async def test_a_new_secret_is_good_after_a_second_though_the_key_is_in_use(
    bundle: Bundle,
) -> None:
    """Another process rotates; what was remembered of the key does not hold it up for longer."""
    await bundle.verify(bundle.request(nonce="n-1"))
    bundle.key = await bundle.elsewhere.rotate(bundle.key.key.api_id)
    bundle.clock.advance(NEW_SECONDS - 0.001)
    early = bundle.request(nonce="n-2")
    assert (await _refusal(bundle, early)).reason is Reason.SIGNATURE_INVALID
    bundle.clock.advance(0.001)
    await bundle.verify(early)


async def test_a_key_that_was_disabled_meanwhile_is_so_also_for_a_wrong_secret(
    bundle: Bundle,
) -> None:
    """It is looked at once more; then it is not there."""
    await bundle.verify(bundle.request(nonce="n-1"))
    await bundle.elsewhere.disable(bundle.key.key.api_id)
    bundle.clock.advance(NEW_SECONDS)
    wrong = bundle.request(nonce="n-2", X_Api_Signature="0" * 64)
    assert (await _refusal(bundle, wrong)).reason is Reason.UNAUTHORIZED


async def test_a_nonce_is_used_up_for_both_secrets(bundle: Bundle) -> None:
    """It belongs to the API ID: what was sent with one is not sent again with the other."""
    await bundle.verify(bundle.request(nonce="n"))
    bundle.key = await bundle.keys.rotate(bundle.key.key.api_id)
    assert (await _refusal(bundle, bundle.request(nonce="n"))).reason is Reason.NONCE_REPLAYED


async def test_the_same_work_is_done_whatever_is_wrong(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API ID that is unknown or disabled, a wrong signature, one secret or two: two HMACs."""
    rotated = await bundle.keys.create()
    rotated = await bundle.keys.rotate(rotated.key.api_id)
    disabled = await bundle.keys.create()
    await bundle.keys.disable(disabled.key.api_id)
    right = {one: _signed(bundle, one) for one in (bundle.key, rotated, disabled)}
    requests = [*right.values(), bundle.request(X_Api_Id="dk_nobody")]
    requests += [_signed(bundle, one, X_Api_Signature="0" * 64) for one in right]
    signed = []
    sign = signature.sign
    monkeypatch.setattr(
        signature, "sign", lambda key, message: signed.append(key) or sign(key, message)
    )
    reasons = []
    for request in requests:
        signed.clear()
        try:
            await bundle.verify(request)
        except DockgateError as refused:
            reasons.append(refused.reason)
        assert len(signed) == 2
    wrong, unknown = Reason.SIGNATURE_INVALID, Reason.UNAUTHORIZED
    assert reasons == [unknown, unknown, wrong, wrong, unknown]


def _signed(bundle: Bundle, key: NewKey, **headers: str) -> SignedRequest:
    """A request with another key and a nonce of its own."""
    bundle.key, before = key, bundle.key
    request = bundle.request(nonce=f"n-{key.key.api_id}", **headers)
    bundle.key = before
    return request


async def test_what_stands_in_for_a_missing_secret_signs_nothing(bundle: Bundle) -> None:
    """Nobody can know it, and it is never the same twice."""
    opened = await bundle.keys.open(bundle.key.key.api_id)
    assert opened is not None
    assert len(opened.secrets) == 1
    empty = replace(bundle.key, secret="")
    assert (await _refusal(bundle, _signed(bundle, empty))).reason is Reason.SIGNATURE_INVALID


async def test_every_verb_but_get_needs_a_nonce(bundle: Bundle) -> None:
    """What changes something must not be repeatable."""
    await bundle.verify(bundle.request("GET", nonce=""))
    for method in ("POST", "PUT", "DELETE"):
        error = await _refusal(bundle, bundle.request(method, nonce=""))
        assert error.metadata == {"header": "X-Api-Nonce"}


async def test_disabled_key_is_refused_within_seconds(bundle: Bundle) -> None:
    """A key that another process disables is remembered for the cache's time and no longer."""
    await bundle.verify(bundle.request(nonce="n-1"))
    await bundle.keys.disable(bundle.key.key.api_id)
    bundle.clock.advance(CACHE_SECONDS)
    error = await _refusal(bundle, bundle.request(nonce="n-2"))
    assert error.reason is Reason.UNAUTHORIZED


async def test_new_key_can_be_used_at_once(bundle: Bundle) -> None:
    """An ID that was unknown a moment ago is not remembered as that."""
    unknown = await _refusal(bundle, bundle.request(X_Api_Id="dk_later"))
    assert unknown.metadata == {"header": "X-Api-Id"}
    bundle.key = await bundle.keys.create()
    await bundle.verify(bundle.request())


@pytest.mark.parametrize("problem", [ValueError, asyncio.CancelledError])
async def test_what_fails_or_is_given_up_uses_its_nonce_up(
    bundle: Bundle, problem: type[BaseException]
) -> None:
    """And fails as it did; only a copy hears that it is one, whatever it meets."""
    request = bundle.request()
    for raised, expected in ((problem, problem), (ValueError, DockgateError)):
        proven = await bundle.verifier.proven(request)
        with pytest.raises(expected):
            async with bundle.verifier.once(proven):
                raise raised
    assert bundle.nonces() == 1


async def test_what_has_used_its_nonce_up_itself_is_not_taken_for_a_copy(bundle: Bundle) -> None:
    """A command uses it up with its own transaction."""
    request = bundle.request()
    proven = await bundle.verifier.proven(request)
    async with bundle.verifier.once(proven):
        assert proven.nonce is not None
        assert await bundle.store.use_nonce(proven.nonce)
        proven.nonce.is_used_up = True
    assert (await _refusal(bundle, request)).reason is Reason.NONCE_REPLAYED


async def test_copies_cost_their_caller_nothing_while_one_is_looked_at(bundle: Bundle) -> None:
    """However many come at once: else they would take the requests of whoever was copied."""
    few = Limits(LimitsSection(requests_per_second=0.01, requests_at_once=2), bundle.clock)
    verifier = Verifier(bundle.store, bundle.keys, bundle.clock, skew_seconds=300, limits=few)
    request = bundle.request(nonce="n-1")
    proven = await verifier.proven(request)
    async with verifier.once(proven):
        for _ in range(3):
            with pytest.raises(DockgateError) as raised:
                await verifier.proven(request)
            assert raised.value.reason is Reason.NONCE_REPLAYED
        async with verifier.once(await verifier.proven(bundle.request(nonce="n-2"))):
            pass


async def test_nonces_are_forgotten_when_their_timestamp_no_longer_counts(
    bundle: Bundle,
) -> None:
    """The table stays as large as the window, and within it nothing is forgotten."""
    first = bundle.request(nonce="n-1")
    await bundle.verify(first)
    bundle.clock.advance(300)
    await bundle.verify(bundle.request(nonce="n-2"))
    await bundle.store.forget_nonces(0)  # behind the forgetting that the check has begun
    assert bundle.nonces() == 2
    assert (await _refusal(bundle, first)).reason is Reason.NONCE_REPLAYED
    bundle.clock.advance(61)
    assert (await _refusal(bundle, first)).reason is Reason.TIMESTAMP_EXPIRED
    await bundle.verify(bundle.request(nonce="n-3"))
    await bundle.store.forget_nonces(0)
    assert bundle.nonces() == 2


async def test_a_clock_that_is_set_back_a_little_makes_no_copy_good(bundle: Bundle) -> None:
    """A nonce is kept for a minute longer than its timestamp is accepted."""
    first = bundle.request(nonce="n-1")
    await bundle.verify(first)
    bundle.clock.advance(301)
    await bundle.verify(bundle.request(nonce="n-2"))
    await bundle.store.forget_nonces(0)  # behind the forgetting that the check has begun
    bundle.clock.step_wall_clock(-30)
    assert (await _refusal(bundle, first)).reason is Reason.NONCE_REPLAYED


async def test_timestamp_in_the_future_does_not_shorten_the_memory(bundle: Bundle) -> None:
    """A nonce is kept for as long as its own timestamp is accepted, not from now on."""
    headers = signature.signed_headers(
        api_id=bundle.key.key.api_id,
        secret=bundle.key.secret,
        method="POST",
        target=PATH,
        timestamp=bundle.clock.now_ms() // 1000 + 300,
        nonce="ahead",
    )
    ahead = SignedRequest("POST", PATH, "", tuple(headers.items()), b"")
    await bundle.verify(ahead)
    bundle.clock.advance(599)
    await bundle.verify(bundle.request(nonce="n-2"))
    assert (await _refusal(bundle, ahead)).reason is Reason.NONCE_REPLAYED
