"""The rules beside the fields, applied: paths as the caller writes them."""

from dockgate.dji.v1 import file_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import rules


def test_every_broken_rule_is_named_with_its_path() -> None:
    """Through messages and lists."""
    upload = file_pb2.FileuploadStart(bucket="b", region="r", endpoint="e", provider="p")
    upload.credentials.access_key_id = "a"
    upload.credentials.expire = -1
    upload.params.files.add(object_key="k", module="0")
    upload.params.files.add(object_key="", module="3").list.add()
    found = {violation.field: violation.description for violation in rules.violations(upload)}
    assert set(found) == {
        "credentials.access_key_secret",
        "credentials.expire",
        "credentials.security_token",
        "params.files[1].object_key",
        "params.files[1].list[0].boot_index",
    }
    assert all(found.values())


def test_zero_is_given() -> None:
    """The word "required" asks whether it was said, not whether it is something."""
    log = file_pb2.FileuploadStart.Log(boot_index=0)
    assert rules.violations(log) == []
    assert rules.violations(file_pb2.FileuploadStart.Log())


def test_a_zero_that_stands_for_nothing_is_told_what_would_be_right() -> None:
    """Wherever the enum is; other numbers that it does not list pass."""
    request = pb.SubmitCommandRequest(device_id="d", idempotency_key="k")
    request.dji.ota_create.devices.add(sn="s", product_version="1", firmware_upgrade_type=0)
    found = {violation.field: violation.description for violation in rules.violations(request)}
    assert found == {
        "dji.ota_create.devices[0].firmware_upgrade_type": (
            "must be one of 2 consistency, 3 regular, 4 psdk"
        )
    }
    request.dji.ota_create.devices[0].firmware_upgrade_type = 17  # type: ignore[assignment]
    assert rules.violations(request) == []
