"""What gRPC's core is told before it is imported."""

import subprocess
import sys
from typing import Final

SERVER: Final = """
import asyncio
from dockgate_server.rpc.listening import Listener, Terms

async def main():
    listener = Listener(Terms("127.0.0.1:0", [], 1, None))
    await listener.start()
    await listener.stop(0)

asyncio.run(main())
"""


def test_grpc_knows_the_setting_by_which_one_thread_serves() -> None:
    """One that it no longer knows would only be a line in the log, and cost a quarter of the speed.

    gRPC's names of such settings come and go with its versions.
    """
    told = subprocess.run(
        (sys.executable, "-c", SERVER), capture_output=True, text=True, check=True, timeout=30
    )
    assert "xperiment" not in told.stderr
