"""A simulated dock with a drone, for tests, demonstrations and integrators.

It stands for the aircraft: it knows DJI's documents and nothing of this server, so that it is a
real check on it. Nothing here imports from the rest of `dockgate_server` but the way into a broker,
`mqtt.py`.
"""

from dockgate_server.simulate.behaviour import (
    Behaviour,
    JobEnds,
    JobFails,
    JobSilent,
    Late,
    MemberFails,
    NoResult,
    Normal,
    Offline,
    Reply,
    Silent,
    Slow,
    Twice,
    Unreadable,
    WrongMethod,
    WrongTid,
)
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.connection import Broker
from dockgate_server.simulate.dock import SimulatedDock
from dockgate_server.simulate.records import Happening, Received

__all__ = [
    "Behaviour",
    "Broker",
    "DockConfig",
    "Happening",
    "JobEnds",
    "JobFails",
    "JobSilent",
    "Late",
    "MemberFails",
    "NoResult",
    "Normal",
    "Offline",
    "Received",
    "Reply",
    "Silent",
    "SimulatedDock",
    "Slow",
    "Twice",
    "Unreadable",
    "WrongMethod",
    "WrongTid",
]
