"""What of a submission is secret is sealed, and told apart by a keyed digest."""

import hashlib
from typing import Any

import orjson
import pytest
from support.core import Core
from support.vault import VAULT

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL
from dockgate_server.model.transitions import Accepted

URL = "rtmp://host/live/hush"


def live(key: str = "k", url: str = URL) -> pb.SubmitCommandRequest:
    """A submission with a secret."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key=key)
    request.dji.live_start_push.url_type = 1
    request.dji.live_start_push.url = url
    request.dji.live_start_push.video_id = "1/39-0-7/normal-0"
    return request


async def submitted(core: Core, request: pb.SubmitCommandRequest) -> Accepted:
    """Submit it."""
    return await core.commands.submit(LOCAL, request)


async def test_secrets_are_sealed_and_the_rest_is_not(core: Core) -> None:
    """The command says what it was about without them."""
    accepted = await submitted(core, live())
    command = accepted.command
    assert orjson.loads(command.data) == {
        "url_type": 1,
        "url": None,
        "video_id": "1/39-0-7/normal-0",
    }
    assert command.sealed is not None
    assert orjson.loads(VAULT.unseal(command.id, command.sealed))["url"] == URL
    assert "hush" not in repr(accepted)


async def test_a_repetition_is_known_and_other_secrets_are_a_conflict(core: Core) -> None:
    """Although neither is stored."""
    first = await submitted(core, live())
    again = await submitted(core, live())
    assert again.replayed
    assert again.command.id == first.command.id
    with pytest.raises(DockgateError) as refused:
        await submitted(core, live(url="rtmp://host/live/other"))
    assert refused.value.reason is Reason.IDEMPOTENCY_CONFLICT
    assert "rtmp" not in refused.value.message


async def test_the_digest_of_a_secret_cannot_be_tried_out(core: Core) -> None:
    """It is not one that anybody could compute from a guess."""
    content = [
        "dji",
        "drone-001",
        "live_start_push",
        catalogue.METHODS["live_start_push"].spec.channel,
        {"url": URL, "url_type": 1, "video_id": "1/39-0-7/normal-0"},
        0,
    ]
    plain = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
    accepted = await submitted(core, live())
    assert accepted.content_hash == VAULT.digest(plain)
    assert accepted.content_hash != plain


async def test_a_key_from_before_secrets_were_sealed_still_holds(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content was digested without a key."""
    with monkeypatch.context() as earlier:
        earlier.setattr("dockgate_server.codec.redaction.to_keep", lambda _, values: values)
        first = await submitted(core, live())
    again = await submitted(core, live())
    assert (again.replayed, again.command.id) == (True, first.command.id)


def plain(values: dict[str, Any]) -> pb.SubmitCommandRequest:
    """A submission without a secret."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key=str(values))
    request.dji.camera_recording_start.payload_index = "39-0-7"
    return request


async def test_what_is_not_secret_is_not_sealed(core: Core) -> None:
    """It costs nothing then."""
    command = (await submitted(core, plain({}))).command
    assert command.sealed is None
    assert command.data == b'{"payload_index":"39-0-7"}'
