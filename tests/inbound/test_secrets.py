"""What devices say is recorded and shown without secrets; its outcome is read from the whole."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from support.clock import ManualClock
from support.records import ledger
from support.rig import starting

from dockgate_server.bridge.interface import Inbound
from dockgate_server.codec import envelope
from dockgate_server.inbound.telemetry import Telemetry
from dockgate_server.model.command import Channel, Status

REPLIES = "thing/product/dock-001/services_reply"


class EveryDevice:
    """A registry that knows all devices."""

    def __init__(self) -> None:
        self.feed = self

    def knows(self, serial_number: str) -> bool:
        return True

    def state_changed(self, serial_number: str) -> None:
        pass


def test_the_link_key_of_a_drone_is_no_part_of_its_state() -> None:
    """Drones report it all the time."""
    put: list[Any] = []
    telemetry = Telemetry(lambda *told: put.append(told[1]), EveryDevice(), ManualClock())  # type: ignore[arg-type]
    data = {"wireless_link_topo": {"secret_code": [47, 11], "center_node": {"sn": "1"}}, "h": 1}
    payload = orjson.dumps({"data": data})
    message = Inbound("thing/product/d/state", payload, lambda: None)
    telemetry.handle("d", envelope.read(payload), message)
    assert put == [{"wireless_link_topo": {"center_node": {"sn": "1"}}, "h": 1}]


async def test_a_reply_is_recorded_without_what_it_repeats(tmp_path: Path) -> None:
    """Its result counts all the same."""
    async with starting(tmp_path / "d.db") as rig:
        rig.connect()
        command_id = await rig.accept()
        rig.reply(command_id, {"result": 0, "output": {"password": "hush", "status": "ok"}})
        assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
        response = (await rig.now(command_id)).vendor_response
        assert response == b'{"result":0,"output":{"status":"ok"}}'


async def test_a_reply_that_is_hardly_json_is_recorded_without_what_it_repeats(
    tmp_path: Path,
) -> None:
    """Whatever the name of a secret is written with."""
    async with starting(tmp_path / "d.db") as rig:
        command_id = await rig.accept()
        data = b'{"result":0,"output":{"p\\u0061ssword":"hush"},"x":NaN}'
        rig.receive("one", REPLIES, b'{"tid":"%s","data":%s}' % (command_id.encode(), data))
        assert await rig.ended(command_id) == (Status.SUCCEEDED, None)
        assert (await rig.now(command_id)).vendor_response == b'{"result":0}'


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        ("wifi_setup", {"ssid": "net"}),
        ("unlock_license_list", {"ssid": "net", "license_id": 7}),
    ],
)
async def test_what_a_device_repeats_of_a_raw_method_is_recorded_without_secrets(
    tmp_path: Path, method: str, kept: dict[str, Any]
) -> None:
    """As they are sealed in the command; of others the schema says what is none."""
    async with starting(tmp_path / "d.db") as rig:
        output = {"ssid": "net", "wifi_passphrase": "hush", "license_id": 7}
        answer = {"tid": "t1", "method": method, "data": {"result": 0, "output": output}}
        rig.receive("one", REPLIES, answer)
        await rig.settle()
        (one,) = await ledger(rig.store)
        assert orjson.loads(one.data) == {"result": 0, "output": kept}


async def test_a_property_that_is_named_like_a_secret_can_be_set(tmp_path: Path) -> None:
    """Its answer names it as well."""
    async with starting(tmp_path / "d.db") as rig:
        rig.connect()
        raw = {"channel": Channel.PROPERTY_SET, "data": b'{"wifi":{"password":null}}'}
        command_id = await rig.accept(**raw)
        answer = {"tid": command_id, "data": {"wifi": {"password": {"result": 0}}}}
        rig.receive("answer", "thing/product/dock-001/property/set_reply", answer)
        assert await rig.ended(command_id) == (Status.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (b'{"data":{"token":"hush"}}', b'{"data":{}}'),
        (b'{"data":{"a":1}}', b'{"data":{"a":1}}'),
        (b'{"data":{"a":1', b'{"data":{"a":1'),
        (b'{"data":{"token":"hush', b""),
        (b'{"data":{"token":"hush","x":NaN}}', b""),
    ],
)
async def test_what_fits_no_command_is_kept_as_far_as_it_may_be(
    tmp_path: Path, payload: bytes, kept: bytes
) -> None:
    """Of what cannot be read and might hold a secret, its length."""
    async with starting(tmp_path / "d.db") as rig:
        rig.receive("one", REPLIES, payload)
        await rig.settle()
        (one,) = await ledger(rig.store)
        assert one.data == kept
        assert (f"its {len(payload)} bytes" in one.reason) == (not kept)


async def test_an_event_is_recorded_without_secrets(tmp_path: Path) -> None:
    """So nobody is shown any, now or later."""
    async with starting(tmp_path / "d.db") as rig:
        event = {"tid": "t1", "method": "m", "data": {"license": "hush", "a": 1}}
        rig.receive("one", "thing/product/dock-001/events", event)
        await rig.settle()
        (one,) = await rig.store.events.behind(0, 10)
        assert one.data == b'{"a":1}'
