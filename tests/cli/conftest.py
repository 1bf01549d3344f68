"""The scripted server on a port, and the command line called in this process."""

from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from cli.scripted import Called, Run, Script

from dockgate.downlink.v1 import command_service_pb2_grpc as pb_grpc
from dockgate_server import cli


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command line: ``run("get", "some-id")``."""
    # A known width, and no colours.
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments: str) -> Called:
        capsys.readouterr()
        code = cli.run(arguments)
        out, err = capsys.readouterr()
        return Called(code, out, err)

    return call


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """The scripted server; the command line finds it by DOCKGATE_SERVER."""
    script = Script()
    with futures.ThreadPoolExecutor(max_workers=4) as pool:
        server = grpc.server(pool)
        pb_grpc.add_CommandServiceServicer_to_server(script, server)
        script.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        monkeypatch.setenv("DOCKGATE_SERVER", script.address)
        yield script
        server.stop(None).wait()
