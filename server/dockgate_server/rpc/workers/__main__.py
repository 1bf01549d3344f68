"""A worker's process: ``python -m dockgate_server.rpc.workers SOCKET``, see ``worker.py``."""

import asyncio
import sys

import uvloop

from dockgate_server.loading import without_rich

with without_rich():
    from dockgate_server.rpc.workers import worker

if __name__ == "__main__":
    # A fifth less processor time. The gateway does without: libuv ends a process in which a socket
    # is closed behind its back, as its MQTT client may do.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(worker.main(int(sys.argv[1])))
