"""A worker's process: ``python -m dockgate_server.rpc.workers SOCKET``, see ``worker.py``."""

import asyncio
import sys

import uvloop

from dockgate_server.loading import without_rich

with without_rich():
    from dockgate_server.rpc.workers import worker

if __name__ == "__main__":
    # A fifth less processor time.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(worker.main(int(sys.argv[1])))
