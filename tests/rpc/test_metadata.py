"""Metadata that is no text, which gRPC would write into the log with all that is in it."""

from pathlib import Path

import pytest
from support import raw_grpc
from support.core import Core
from support.log import Log

from dockgate_server.config import Grpc
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer

LIST = b"/dockgate.downlink.v1.CommandService/ListCommands"
KEY = (b"authorization", b"Bearer dk_x.dks_SECRET\xff")
OTHERS = ((b"x-request-id", b"mine\xff"), (b"x-any", b"\xfe\xff"))


async def test_a_key_that_is_no_text_is_refused_and_kept_out_of_the_log(
    server: RpcServer, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that a call was refused."""
    answered = await raw_grpc.ask(server.address, LIST, KEY)
    assert b"grpc-status\x0216" in answered
    assert [line["code"] for line in log] == ["UNAUTHORIZED"]
    assert caplog.records == []
    assert "SECRET" not in str(log)


async def test_other_metadata_that_is_no_text_is_as_if_it_were_not_there(
    server: RpcServer, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """The call is answered, under an id of ours."""
    answered = await raw_grpc.ask(server.address, LIST, *OTHERS)
    assert b"grpc-status\x010" in answered
    assert b"mine" not in answered
    assert (log, caplog.records) == ([], [])


async def test_a_worker_keeps_it_out_of_the_log_too(
    core: Core, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is there that gRPC is spoken."""
    settings = Grpc(listen="127.0.0.1:0", workers=1)
    async with RpcServer(settings, core.commands, Health(), stop_seconds=5) as server:
        answered = await raw_grpc.ask(server.address, LIST, KEY, *OTHERS)
        core.hub.close()
    assert b"grpc-status\x0216" in answered
    assert "encoding" not in capfd.readouterr().err
