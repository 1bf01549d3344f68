"""A simulated dock as a process: `dockgate simulate`, but back within a second.

`dockgate simulate` waits for up to 30 s before it connects again to a broker that keeps going
away, as a real dock does. Here the broker goes away every few seconds, and a dock that is never
there would test nothing.
"""

import asyncio
import json
import sys

from dockgate_server.simulate import Broker, DockConfig, command, flags
from dockgate_server.simulate.records import Happening

_TOLD = ("accepted", "received", "connected", "disconnected", "offline")


def main(configuration: str) -> None:
    """Be a dock until SIGTERM; one line of JSON for what a run has to know."""
    told = json.loads(configuration)
    config = DockConfig(
        broker=Broker(port=told["port"]),
        gateway=told["gateway"],
        drone=told["drone"],
        keep_session=told["keep_session"],
        answer_after=0.01,
        step_every=0.3,
        announce_every=0.5,
        retry_first=0.05,
        retry_most=1.0,
        behaviours=flags.parse_behaviours(told["behave"], told["reply"]),
    )
    asyncio.run(command.run(config, _tell))


def _tell(happening: Happening) -> None:
    if happening.kind in _TOLD:
        sys.stdout.write(command.line(happening, as_json=True) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
