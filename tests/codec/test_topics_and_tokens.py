"""Topics, and the opaque tokens by which a caller goes on."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockgate_server.codec import cursor, topics
from dockgate_server.errors import DockgateError, Reason


@pytest.mark.parametrize("up", list(topics.Up))
def test_a_topic_that_is_subscribed_to_is_understood(up: topics.Up) -> None:
    """For any serial number."""
    assert topics.parse(up.value.replace("+", "7CTDM3D00B8DC7")) == (up, "7CTDM3D00B8DC7")


def test_topics_to_devices_are_djis() -> None:
    """Commands, and the two answers that devices wait for."""
    assert topics.services("SN") == "thing/product/SN/services"
    assert topics.events_reply("SN") == "thing/product/SN/events_reply"
    assert topics.status_reply("SN") == "sys/product/SN/status_reply"


@pytest.mark.parametrize(
    "topic",
    [
        "thing/product/SN/services",
        "thing/product/SN/osd/x",
        "thing/product/SN/status",
        "sys/product/SN/events",
        "sys/product/SN/status/x",
        "/thing/product/SN/events",
        "thing/device/SN/events",
        "events",
        "",
    ],
)
def test_another_topic_is_none_of_ours(topic: str) -> None:
    """Our own publishes come back to a careless subscription; they are not replies."""
    assert topics.parse(topic) is None


@given(st.integers(0, 10**18 - 1))
def test_a_token_leads_back_to_its_position(position: int) -> None:
    """And only as what it was made for."""
    token = cursor.write(cursor.PAGE, position)
    assert cursor.read(cursor.PAGE, token, "page_token") == position
    with pytest.raises(DockgateError) as refused:
        cursor.read(cursor.RESUME, token, "resume_token")
    assert refused.value.reason is Reason.VALIDATION_FAILED
    assert refused.value.violations[0].field == "resume_token"


def _token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        *("x", "====", "ä", "page:1", "!"),
        *map(_token, ("page:", "page:-1", "page:1e3", "page:²", "page:" + "9" * 19, ":1")),
    ],
)
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    """Never an exception of the decoder, never another position."""
    with pytest.raises(DockgateError):
        cursor.read(cursor.PAGE, token, "page_token")
