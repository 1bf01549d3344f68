"""Where a call comes from, and the id under which it is known."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

from dockgate_server import request_ids
from dockgate_server.model.caller import Origin

REQUEST_ID: Final = request_ids.REQUEST_ID.lower()
"""The metadata, in calls and in what ends them."""


def origin(peer: str, metadata: Iterable[tuple[str, Any]]) -> Origin:
    """What is known of a call before it is known who makes it.

    Args:
        peer: HOST:PORT as gRPC writes it, ``ipv6:%5B::1%5D:50051``.
        metadata: What came with the call.
    """
    given = [str(value) for name, value in metadata if name == REQUEST_ID]
    return Origin("grpc", unquote(peer.partition(":")[2]), request_ids.choose(given))
