"""Ports on this machine: are they free, and which one is."""

import socket
from collections.abc import Mapping


class PortsTaken(Exception):
    """Some ports cannot be used; the message says which, and which option chooses another."""


def choose(wanted: Mapping[str, int]) -> dict[str, int]:
    """The ports to use: those wanted, and a free one for each 0.

    Args:
        wanted: By the option that chooses it, e.g. ``{"--grpc-port": 50051}``.

    Raises:
        PortsTaken: With every port that cannot be used.
    """
    problems = _wanted_twice(wanted)
    chosen = {}
    probes = []
    try:
        for option, port in wanted.items():
            probe = socket.socket()
            # Held until all are chosen, so that no two that are chosen here are the same.
            probes.append(probe)
            # Connections of an earlier run that are still being closed are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError:
                problems.append(
                    f"port {port} may not be used by this user ({option} chooses another)"
                )
            except OSError:
                problems.append(f"port {port} is in use ({option} chooses another, 0 any)")
            else:
                chosen[option] = int(probe.getsockname()[1])
    finally:
        for probe in probes:
            probe.close()
    if problems:
        raise PortsTaken("; ".join(problems))
    return chosen


def _wanted_twice(wanted: Mapping[str, int]) -> list[str]:
    by_port: dict[int, list[str]] = {}
    for option, port in wanted.items():
        by_port.setdefault(port, []).append(option)
    return [
        f"port {port} is wanted by {' and '.join(options)}; each needs its own"
        for port, options in by_port.items()
        if port and len(options) > 1
    ]
