"""The whole gateway with gRPC over TLS, and a key made by the command line beside it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from support import gateway
from support.certificates import Authority
from support.gateway import recording_start

from dockgate.downlink.v1.command_service_pb2_grpc import CommandServiceStub
from dockgate_server import cli


@pytest.mark.parametrize("http", [True, False], ids=["with HTTP", "without HTTP"])
async def test_a_key_that_was_made_beside_the_gateway_is_good_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    http: bool,
) -> None:
    """As is everything else that the application wires: limits, store, names."""
    authority = Authority(tmp_path / "tls")
    certificate, key = authority.issue("server", "127.0.0.1")
    sections: dict[str, Any] = {
        "grpc": {"listen": "127.0.0.1:0", "tls_certificate": certificate, "tls_key": key},
        "http": {"listen": "127.0.0.1:0", "enabled": http},
        "devices": ({"id": "drone-001", "gateway": "dock-001"},),
    }
    async with gateway.running("mqtt://127.0.0.1:1", tmp_path, **sections) as running:
        monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "dockgate.db"))
        assert await asyncio.to_thread(cli.run, ["keys", "create", "--json"]) == 0
        # Between lines of the gateway's log.
        lines = capsys.readouterr().out.splitlines()
        [made] = [json.loads(line) for line in lines if line.startswith("{")]
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(authority.certificate.read_bytes()),
            grpc.access_token_call_credentials(f"{made['api_id']}.{made['secret']}"),
        )
        address = running.app.grpc_address
        async with grpc.aio.secure_channel(address, credentials) as channel:
            stub: Any = CommandServiceStub(channel)
            accepted = await stub.SubmitCommand(recording_start("k1"))
        command_id = accepted.command.command_id
        stored = await running.app.store.get_command("default", command_id)
    assert stored is not None
