"""Requests whose beginning and end two readers may see at different places.

Each hides a second request, which is rightly signed, in what may be the first one's body. Whoever
takes the whole for two has been smuggled into.
"""

from collections.abc import Callable
from dataclasses import dataclass

from support.open_api import COMMANDS, JSON, OpenApiUnderTest
from support.raw_http import request

from security.attacks import BODY


@dataclass(frozen=True)
class Framing:
    """A first request by its header lines, its body, and what stands behind it."""

    name: str
    lines: str
    """As they are sent, but for the CR before every LF."""
    body: bytes = b""
    make: Callable[[OpenApiUnderTest], bytes] | None = None

    def bytes_for(self, api: OpenApiUnderTest) -> bytes:
        """The first request with the hidden one behind or in it."""
        signed = api.sign("POST", COMMANDS, BODY)
        hidden = request("POST", COMMANDS, (JSON | signed).items(), BODY)
        if self.make is not None:
            return self.make(api) + hidden
        lines = self.lines.replace("\n", "\r\n").replace("\x01", "\n")
        head = f"POST {COMMANDS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{lines}"
        return head.encode("latin-1") + b"\r\n" + self.body + hidden


_LF = "\x01"
"""A line feed that gets no CR before it."""
_END = b"0\r\n\r\n"

UNREADABLE = [
    Framing("length and chunks", "Content-Length: 5\nTransfer-Encoding: chunked\n", _END),
    Framing("chunks and length", "Transfer-Encoding: chunked\nContent-Length: 5\n", _END),
    Framing("two lengths", "Content-Length: 0\nContent-Length: 5\n"),
    Framing("two lengths in one line", "Content-Length: 0, 5\n"),
    Framing("length below zero", "Content-Length: -1\n"),
    Framing("length with a plus", "Content-Length: +2\n", b"{}"),
    Framing("length in hex", "Content-Length: 0x2\n", b"{}"),
    Framing("length with an underscore", "Content-Length: 1_0\n"),
    Framing("length with a fraction", "Content-Length: 2.0\n", b"{}"),
    Framing("length beyond 64 bits", "Content-Length: 18446744073709551617\n"),
    Framing("length that is empty", "Content-Length:\n"),
    Framing("coding that nobody knows", "Transfer-Encoding: xchunked\n", _END),
    Framing("chunks twice", "Transfer-Encoding: chunked, chunked\n", _END),
    Framing("chunks that are not the last coding", "Transfer-Encoding: chunked, identity\n", _END),
    Framing("chunks after a vertical tab", "Transfer-Encoding: \x0bchunked\n", _END),
    Framing("space before a colon", "Transfer-Encoding : chunked\n", _END),
    Framing("header line that goes on in the next", "X-A: b\n Transfer-Encoding: chunked\n", _END),
    Framing("header line that begins with a space", " Content-Length: 5\n"),
    Framing("header line without a colon", "Content-Length\n"),
    Framing("header without a name", ": 5\n"),
    Framing("zero byte in a header", "X-A: \0\n"),
    Framing("CR alone in a header", "X-A: b\rContent-Length: 5\n"),
    Framing("bare LF behind a header", f"X-A: b{_LF}Content-Length: 5\n"),
    Framing("size of a chunk below zero", "Transfer-Encoding: chunked\n", b"-1\r\n"),
    Framing("size of a chunk in 0x", "Transfer-Encoding: chunked\n", b"0x0\r\n\r\n"),
    Framing("size of a chunk beyond 64 bits", "Transfer-Encoding: chunked\n", b"f" * 17 + b"\r\n"),
    Framing("bare LF behind the size of a chunk", "Transfer-Encoding: chunked\n", b"0\n\n"),
    Framing("chunk longer than it says", "Transfer-Encoding: chunked\n", b"1\r\nab\r\n" + _END),
]

VERSIONS = [
    b"GET /\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"CONNECT dockgate.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\0" * 100 + b"\r\n\r\n",
]
