"""Every attack of the list gets the answer that it should, changes nothing and harms nobody."""

import pytest
from support.open_api import OpenApiUnderTest
from support.raw_http import exchange

from security.attacks import ALL, Attack, sent
from security.conftest import stored


def test_there_are_at_least_60_and_each_has_its_own_name() -> None:
    """A list that shrinks is noticed."""
    names = [attack.name for attack in ALL]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: attack.name)
async def test_attack_gets_nowhere(api: OpenApiUnderTest, attack: Attack) -> None:
    """It is refused as the contract says, the store is as before, and an honest call gets through.

    Only where the signature was right its nonce is used up.
    """
    before = stored(api)
    [answer] = await exchange(api.server.address, attack.make(api))
    assert (answer.status, answer.code) == (attack.status, attack.code)
    assert answer.body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["server"] == "dockgate"
    after = stored(api)
    if attack.signed:
        assert len(after.pop("nonce")) == len(before.pop("nonce")) + 1
    assert after == before
    assert api.bridge.published == []
    [honest] = await exchange(api.server.address, sent(api))
    assert honest.status == 202
