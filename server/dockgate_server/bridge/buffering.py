"""A socket that reads ahead and writes together.

paho asks for each message in four pieces and sends each acknowledgement by itself. In a storm of
events these system calls, and the broker's waking up for each of them, cost more than all the
rest.
"""

import ssl
from typing import Any, Final

from dockgate_server.bridge import wire

READ_AHEAD: Final = 16_384
"""Bytes that are asked for at once: some dozens of messages, in which nobody else has a turn.

No more, and a length that takes three bytes is that of a packet which is not whole among them."""

_IN_MASSES: Final = (wire.PUBLISH >> 4, wire.PUBACK >> 4)
_DISCONNECT: Final = 0xE0


class BufferedSocket:
    """Stands before a socket that does not block.

    Args:
        sock: The socket, plain or TLS.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._ahead = b""
        self._taken = 0
        self._unsent = bytearray()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the socket's own."""
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        """So many bytes at most; empty at the end.

        Raises:
            BlockingIOError, ssl.SSLWantReadError: There are none yet.
        """
        if self._taken == len(self._ahead):
            self._ahead, self._taken = b"", 0
            self._ahead = self._sock.recv(max(size, READ_AHEAD))
        piece = self._ahead[self._taken : self._taken + size]
        self._taken += len(piece)
        return piece

    def packets(self, most: int) -> list[tuple[int, bytes]]:
        """The packets that come next and are here whole, up to one of a kind that comes rarely.

        Args:
            most: How many at most.

        Returns:
            The first byte of each, and what follows its length. None at all when :meth:`recv` is
            to be asked: for a packet in parts, of another kind, or for the connection's end.

        Raises:
            BlockingIOError, ssl.SSLWantReadError: There is nothing yet.
        """
        if self._taken == len(self._ahead):
            self._ahead, self._taken = b"", 0
            self._ahead = self._sock.recv(READ_AHEAD)
        ahead, start = self._ahead, self._taken
        packets: list[tuple[int, bytes]] = []
        while len(packets) < most and len(ahead) > start + 2:
            first, length, body = ahead[start], ahead[start + 1], start + 2
            if length > 0x7F:
                length, body = length & 0x7F | ahead[body] << 7, body + 1
            end = body + length
            if first >> 4 not in _IN_MASSES or end > len(ahead):
                break
            packets.append((first, ahead[body:end]))
            start = end
        self._taken = start
        return packets

    @property
    def has_more(self) -> bool:
        """Whether there is something to be had although the socket itself may not be readable."""
        if self._taken < len(self._ahead):
            return True
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def pending(self) -> int:
        """For aiomqtt, which would read on for as long as there is something."""
        return 0

    def send(self, data: bytes | bytearray) -> int:
        """Take a packet, to be sent with the next :meth:`flush`."""
        self._unsent += data
        if data and data[0] & 0xF0 == _DISCONNECT:
            self.flush()  # the last packet; paho closes the socket right behind it
        return len(data)

    @property
    def has_unsent(self) -> bool:
        """Whether something that was taken has not left."""
        return bool(self._unsent)

    def flush(self) -> bool:
        """Send what has been taken; whether all of it has left.

        Raises:
            OSError: The connection is broken.
        """
        if self._unsent:
            try:
                sent = self._sock.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            del self._unsent[:sent]
        return not self._unsent
