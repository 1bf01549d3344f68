"""What must not be learnt from answers: neither from their words nor from their time."""

import hmac
import statistics
import time
from typing import Any

import pytest
from support.open_api import COMMANDS, Answer, OpenApiUnderTest, submission

from dockgate_server.access import signature
from dockgate_server.model.caller import Scope

REQUESTS = "/api/v1/open/device-requests"
_CALLS = 300
# Of medians over interleaved calls; a path of its own, such as one more reading of the store,
# makes more of a difference.
_ALIKE = 1.25


def _words(answer: Answer, *ids: str) -> dict[str, Any]:
    """What an answer says, without what is the caller's own."""
    text = str({**answer.body, "request_id": ""})
    for one in ids:
        text = text.replace(one, "ID")
    return {"status": answer.status, "text": text, "headers": sorted(answer.headers)}


async def test_a_strangers_command_is_told_from_none_by_nothing(api: OpenApiUnderTest) -> None:
    """The same words, and statistically the same time."""
    theirs = str((await api.post(submission())).body["command_id"])
    nobodys = theirs[:-8] + "00000000"
    stranger = await api.keys.create(tenant="another")
    targets = {one: f"{COMMANDS}/{one}" for one in (theirs, nobodys)}
    said = [_words(await api.get(target, stranger), theirs, nobodys) for target in targets.values()]
    assert said[0] == said[1]
    assert said[0]["status"] == 404
    times: dict[str, list[float]] = {theirs: [], nobodys: []}
    for _ in range(_CALLS):
        for one, target in targets.items():
            # A GET without a nonce, so that nothing is written.
            headers = api.sign("GET", target, key=stranger, nonce="")
            begun = time.perf_counter()
            answer = await api.send("GET", target, headers)
            times[one].append(time.perf_counter() - begun)
            assert answer.status == 404
    medians = [statistics.median(taken) for taken in times.values()]
    assert max(medians) / min(medians) < _ALIKE, medians


async def test_a_strangers_device_request_is_told_from_none_by_nothing(
    api: OpenApiUnderTest,
) -> None:
    """To see as well as to answer."""
    theirs, nobodys = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2))
    await api.device_asks(theirs)
    scopes = (Scope.REQUESTS_READ, Scope.REQUESTS_CREATE)
    stranger = await api.keys.create("other", "another", scopes)
    body = b'{"reply_code":0}'
    said = []
    for one in (theirs, nobodys):
        target = f"{REQUESTS}/{one}/reply"
        headers = {"Content-Type": "application/json", **api.sign("POST", target, body, stranger)}
        answers = [
            await api.get(f"{REQUESTS}/{one}", stranger),
            await api.send("POST", target, headers, body),
        ]
        said.append([_words(answer, theirs, nobodys) for answer in answers])
    assert said[0] == said[1]
    assert [one["status"] for one in said[0]] == [404, 404]


async def test_a_strangers_device_is_told_from_none_by_nothing(api: OpenApiUnderTest) -> None:
    """Who may not send to it does not learn that it exists."""
    stranger = await api.keys.create(tenant="another")
    said = [
        _words(await api.post(submission(device_id=one), key=stranger), "dock-001", "dock-999")
        for one in ("dock-001", "dock-999")
    ]
    assert said[0] == said[1]
    assert said[0]["status"] == 404


async def test_an_unknown_id_takes_as_long_as_a_wrong_signature(
    api: OpenApiUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one that does not exist a signature is computed and compared as well."""
    compared = []
    fits = signature.fits

    def counted(*parts: Any) -> bool:
        compared.append(parts)
        return fits(*parts)

    monkeypatch.setattr(signature, "fits", counted)
    target = f"{COMMANDS}/x"
    headers = api.sign("GET", target)
    await api.send("GET", target, headers | {"X-Api-Signature": "0" * 64})
    for_wrong = len(compared)
    await api.send("GET", target, headers | {"X-Api-Id": "dk_nobody"})
    assert len(compared) == 2 * for_wrong > 0


@pytest.mark.parametrize("matching", [0, 1, 32, 63, 64])
def test_comparing_takes_the_same_work_however_much_of_it_fits(
    monkeypatch: pytest.MonkeyPatch, matching: int
) -> None:
    """Always the whole of both, by the function that is made for it, and never by == ."""
    seen = []
    compare = hmac.compare_digest

    class Watched:
        new = staticmethod(hmac.new)

        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            seen.append((one, other))
            return compare(one, other)

    right = signature.sign(b"key", b"message")
    other = "0123456789abcdef"
    wrong = [other[(other.index(letter) + 1) % 16] for letter in right[matching:]]
    given = right[:matching] + "".join(wrong)
    monkeypatch.setattr(signature, "hmac", Watched)
    assert signature.fits(b"key", b"message", given) is (matching == 64)
    assert seen == [(right.encode(), given.encode())]
