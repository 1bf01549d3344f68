"""A field that names a device out of reach, over gRPC: the field is in the BadRequest."""

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support.secured import secured

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.model.caller import ORDINARY
from dockgate_server.model.device import Device


@pytest.mark.parametrize(
    ("named", "devices", "code", "reason"),
    [
        ("dock-001", ["dock-001"], None, ""),
        ("dock-002", [], None, ""),
        ("dock-002", ["dock-001"], grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"),
        ("dock-009", [], grpc.StatusCode.NOT_FOUND, "DEVICE_NOT_FOUND"),
        ("dock-777", [], grpc.StatusCode.NOT_FOUND, "DEVICE_NOT_FOUND"),
    ],
)
async def test_a_dock_to_land_in_must_be_in_reach(
    tmp_path: Path, named: str, devices: list[str], code: grpc.StatusCode | None, reason: str
) -> None:
    """Another tenant's is like an unknown one."""
    request = pb.SubmitCommandRequest(device_id="drone-001", idempotency_key="k1")
    request.dji.return_specific_home.home_dock_sn = named
    async with secured(tmp_path) as tls:
        await tls.core.registry.register(Device("default", "dock-002", "dock-002"))
        await tls.core.registry.register(Device("north", "dock-009", "dock-009"))
        key = await tls.keys.create("test", scopes=ORDINARY, devices=devices)
        async with tls.stub(key) as stub:
            if code is None:
                await stub.SubmitCommand(request)
                return
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.SubmitCommand(request)
        assert await tls.core.stored() == 0
    assert refused.value.code() is code
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, dict(info.metadata)) == (reason, {"device_id": named})
    (violation,) = bad.field_violations
    assert violation.field == "dji.return_specific_home.home_dock_sn"
