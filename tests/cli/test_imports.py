"""What each process loads: it is paid for at each start, and in memory for as long as it runs."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

LOADED: Final = """
import json, sys
before = {*sys.modules}
CODE
print(json.dumps(sorted(sys.modules.keys() - before)), flush=True)
"""

GATEWAY: Final = {
    *("aiomqtt", "paho"),
    *("aiosqlite", "cryptography"),
    *("buf", "google", "grpc", "grpc_health", "grpc_reflection", "grpc_status"),
    *("annotated_types", "dotenv", "pydantic", "pydantic_core", "pydantic_settings"),
    *("annotated_doc", "shellingham", "typer"),
    *("orjson", "structlog", "typing_extensions", "typing_inspection"),
    "grpc_tools",  # a few lines of it: gRPC looks whether it is there
}
"""Packages of others that the gateway needs. One more has to be worth its memory."""

OPEN_API: Final = {
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "attr", "frozenlist", "idna"),
    *("multidict", "propcache", "yarl"),
}
"""What it needs for HTTP."""

WORKER: Final = {
    "uvloop",
    *("google", "grpc", "grpc_health", "grpc_reflection", "grpc_tools"),
    *("structlog", "typing_extensions"),
}
"""What a process needs that only speaks gRPC."""

OURS: Final = {"dockgate", "dockgate_server"}

SUPERFLUOUS: Final = {
    # Certificates are OpenSSL's business.
    "cryptography.x509",
    "cryptography.hazmat.primitives.asymmetric",
    "cryptography.hazmat.primitives.serialization",
    "pydantic.v1",
    # Other processes are started as programs.
    "concurrent.futures.process",
    "multiprocessing",
    "http.server",
    "smtplib",
    "unittest",
    "xml",
    # The reference is made by `make docs`, and its page when somebody asks for it.
    "dockgate_server.docs.markdown",
    "dockgate_server.docs.openapi",
    "dockgate_server.docs.page",
    # The other commands.
    "dockgate_server.cli.watch",
    "dockgate_server.dev",
    "dockgate_server.simulate",
}
"""Parts of what is needed, and of Python, that a server can do without."""


def loaded(code: str) -> set[str]:
    """The modules that some code loads in a process of its own."""
    code = LOADED.replace("CODE", code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def served() -> set[str]:
    """The modules that a gateway has loaded by the time at which it stops."""
    code = LOADED.replace("CODE", "from dockgate_server import cli; cli.run(['serve'])")
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "is ready" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        return set(json.loads(process.stdout.readline()))


def superfluous(modules: set[str]) -> list[str]:
    """What of it a server can do without."""
    return sorted(
        one for one in modules if any(f"{one}.".startswith(f"{other}.") for other in SUPERFLUOUS)
    )


def packages(modules: set[str]) -> set[str]:
    """The packages of others among the modules; compiled ones have a few for themselves."""
    tops = {one.partition(".")[0] for one in modules} - sys.stdlib_module_names - OURS
    return {one for one in tops if not one.startswith("_") and one != "cython_runtime"}


def test_help_loads_nothing_heavy() -> None:
    """It must answer at once."""
    modules = loaded("from dockgate_server import cli; cli.run(['--help'])")
    assert not {"grpc", "google.protobuf", "rich", "pydantic_settings"} & modules


@pytest.mark.parametrize("with_http", [True, False])
def test_the_gateway_loads_nothing_that_it_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_http: bool
) -> None:
    """Without the open API nothing of that either."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "dockgate.db"))
    monkeypatch.setenv("DOCKGATE_HTTP__ENABLED", json.dumps(with_http))
    for listener in ("GRPC", "HTTP"):
        monkeypatch.setenv(f"DOCKGATE_{listener}__LISTEN", "127.0.0.1:0")
    modules = served()
    assert "dockgate_server.app" in modules
    assert ("dockgate_server.http.server" in modules) is with_http
    assert packages(modules) - GATEWAY - (OPEN_API if with_http else set()) == set()
    assert superfluous(modules) == []


def test_a_worker_loads_nothing_that_it_does_not_need() -> None:
    """There may be many of them."""
    modules = loaded("import dockgate_server.rpc.workers.__main__")
    assert "dockgate_server.rpc.workers.worker" in modules
    assert packages(modules) - WORKER == set()
    assert superfluous(modules) == []
    assert not {"dockgate", "sqlite3", "email"} & modules
