"""Where a dock puts its media, and the credentials for it."""

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.clock import ManualClock

from dockgate_server.config.providers import ObjectStorage
from dockgate_server.model.device_request import Asked
from dockgate_server.providers import sts
from dockgate_server.providers.storage import Storage
from dockgate_server.providers.sts import CannotMint, Credentials, Minting

SETTINGS: dict[str, Any] = {
    "bucket": "media-bucket",
    "endpoint": "https://s3.example",
    "region": "eu-central-1",
    "access_key_id": "AKIA",
    "access_key_secret": "hush",
    "media_prefix": "media/2026",
}
ROLE = "arn:aws:iam::123456789012:role/dock"


async def _ask(
    module: Any = 0, minting: Minting | None = None, **settings: Any
) -> dict[str, Any] | None:
    storage = Storage(ObjectStorage(**(SETTINGS | settings)), minting)
    data = module if not isinstance(module, int | str) else {"module": module}
    asked = Asked("dock-001", "storage_config_get", "t1", "b1", data)
    answer = await storage.by_method()["storage_config_get"](asked)
    return None if answer is None else dict(answer.data)


class Sts:
    """Mints numbered credentials, when the test lets it."""

    def __init__(self, seconds: int = 3600) -> None:
        self.calls = 0
        self.seconds = seconds
        self.problem: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def mint(self) -> Credentials:
        self.calls += 1
        self.open.wait(10)
        if self.problem is not None:
            raise self.problem
        return Credentials(f"id-{self.calls}", "secret", "token", self.seconds)


async def test_the_bucket_is_that_of_the_settings() -> None:
    """With the credentials of the settings, in the form that DJI shows."""
    assert await _ask(security_token="session") == {
        "result": 0,
        "output": {
            "bucket": "media-bucket",
            "credentials": {
                "access_key_id": "AKIA",
                "access_key_secret": "hush",
                "expire": 3600,
                "security_token": "session",
            },
            "endpoint": "https://s3.example",
            "object_key_prefix": "media/2026",
            "provider": "aws",
            "region": "eu-central-1",
        },
    }


@pytest.mark.parametrize(
    ("module", "prefix"),
    [(0, "media/2026"), ("0", "media/2026"), (1, "psdk"), ("1", "psdk"), (None, "media/2026")],
)
async def test_each_module_has_its_prefix(module: Any, prefix: str) -> None:
    """Digits as text count."""
    answer = await _ask(module)
    assert answer is not None
    assert answer["output"]["object_key_prefix"] == prefix


async def test_a_module_that_is_not_known_is_left_to_a_person() -> None:
    """Whose place in the bucket nobody has decided."""
    assert await _ask(2) is None


def test_without_a_bucket_nothing_is_answered() -> None:
    """It goes to the inbox."""
    assert Storage(ObjectStorage(), None).by_method() == {}


@pytest.mark.parametrize("missing", ["endpoint", "region", "access_key_id", "access_key_secret"])
def test_settings_that_are_not_whole_are_refused(missing: str) -> None:
    """At start, not at the first dock."""
    with pytest.raises(ValueError, match=r"bucket|together"):
        ObjectStorage(**{name: value for name, value in SETTINGS.items() if name != missing})


async def test_minted_credentials_serve_until_shortly_before_they_expire() -> None:
    """Each dock is told how long they hold from now."""
    clock, service = ManualClock(), Sts()
    minting = Minting(service.mint, clock)
    first = await minting.credentials()
    assert (first.access_key_id, first.seconds) == ("id-1", 3600)
    clock.advance(3600 - sts.EARLY_SECONDS - 1)
    clock.step_wall_clock(86_400)
    kept = await minting.credentials()
    assert (kept.access_key_id, kept.seconds) == ("id-1", 301)
    clock.advance(1)
    assert (await minting.credentials()).access_key_id == "id-2"


async def test_docks_that_ask_at_once_share_one_call() -> None:
    """A fleet that comes back must not storm the STS."""
    service = Sts()
    minting = Minting(service.mint, ManualClock())
    found = await asyncio.gather(*(minting.credentials() for _ in range(20)))
    assert service.calls == 1
    assert {one.access_key_id for one in found} == {"id-1"}


async def test_a_slow_sts_holds_up_nobody_else() -> None:
    """The dock is told that it failed, the log too; the event loop goes on all the time."""
    service = Sts()
    service.open.clear()
    minting = Minting(service.mint, ManualClock(), patience_seconds=0.05)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    with capture_logs() as logs:
        answers = [await _ask(minting=minting, sts_role_arn=ROLE) for _ in range(2)]
    turning.cancel()
    assert turns > 100
    for answer in answers:
        assert answer == {
            "result": -1,
            "message": "no credentials for the storage: the STS did not answer within 0.05 s",
        }
    assert [one["event"] for one in logs] == ["no_storage_credentials"] * 2
    assert service.calls == 1
    service.open.set()
    minting._patience = 5
    assert (await minting.credentials()).access_key_id == "id-1"


async def test_after_a_failure_the_next_dock_tries_anew() -> None:
    """A moment later the STS may be back."""
    service = Sts()
    minting = Minting(service.mint, ManualClock())
    service.problem = CannotMint("the STS answered AccessDenied")
    answer = await _ask(minting=minting)
    assert answer is not None
    assert (answer["result"], answer["message"]) == (
        -1,
        "no credentials for the storage: the STS answered AccessDenied",
    )
    service.problem = None
    answer = await _ask(minting=minting)
    assert answer is not None
    assert answer["output"]["credentials"] == {
        "access_key_id": "id-2",
        "access_key_secret": "secret",
        "expire": 3600,
        "security_token": "token",
    }


def test_minting_without_boto3_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words that help."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CannotMint, match="extra sts"):
        sts.assume_role(ObjectStorage(**SETTINGS, sts_role_arn=ROLE))


def test_credentials_are_not_printed() -> None:
    """Not even by a log line that was meant for something else."""
    assert "hush" not in repr(Credentials("hush", "hush", "hush", 1))
    assert "hush" not in repr(ObjectStorage(**SETTINGS))
