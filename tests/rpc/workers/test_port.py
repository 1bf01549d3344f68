"""The port that workers share."""

import socket

import pytest

from dockgate_server.errors import CannotListen
from dockgate_server.rpc.workers import pool


def test_a_port_is_free_although_connections_of_an_earlier_gateway_have_just_ended() -> None:
    """The system remembers for a minute those that the server's side closed first."""
    with socket.socket() as earlier:
        earlier.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
        earlier.bind(("127.0.0.1", 0))
        earlier.listen()
        address = earlier.getsockname()
        with socket.create_connection(address) as client:
            earlier.accept()[0].close()
            assert client.recv(1) == b""
    port, kept = pool._reserved("{}:{}".format(*address))
    try:
        assert port == address[1]
        # Workers do not listen yet; until they do, the port is nobody else's all the same.
        with pytest.raises(CannotListen):
            pool._reserved("{}:{}".format(*address))
    finally:
        for one in kept:
            one.close()


def test_a_port_is_kept_on_every_address_that_a_name_has() -> None:
    """As gRPC listens on each: else a second gateway could share one of them."""
    port, kept = pool._reserved("localhost:0")
    found = {one[4][0] for one in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    try:
        names = [one.getsockname()[:2] for one in kept]
    finally:
        for one in kept:
            one.close()
    assert sorted(names) == sorted((address, port) for address in found)
