"""Requests for the HTTP target: rightly signed ones, and what may become of them on their way."""

import random
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from support.open_api import COMMANDS, JSON, OpenApiUnderTest, submission
from support.raw_http import request
from traffic.messages import Message
from traffic.mutations import spoil, spoil_bytes

from dockgate_server.access import signature

REQUESTS: Final = "/api/v1/open/device-requests"
NO_ID: Final = "00000000-0000-0000-0000-000000000000"
REPLY: Final = f"{REQUESTS}/{NO_ID}/reply"
TARGETS: Final = (
    *(COMMANDS, f"{COMMANDS}/{NO_ID}", REQUESTS, f"{REQUESTS}/{NO_ID}", REPLY),
    *("/openapi.json", "/docs", "/docs/style.css", "/docs/methods/charge_open", "/", "*"),
)
METHODS: Final = (b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"get")
PIECES: Final = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"/", b"//", b"..", b"%", b"%2F", b"%00"),
    *(b"?", b"&", b";", b"#", b"\xff", b"\xed\xa0\x80"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET / ", b"Content-Length: 0\r\n"),
    *(b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    *(b"ffffffffffffffff\r\n", b"Expect: 100-continue\r\n", b"Connection: upgrade\r\n"),
    *(b"Upgrade: h2c\r\n", b"Content-Encoding: gzip\r\n", b"If-None-Match: *\r\n"),
    *(b"X-Request-Id: ", b'{"', b"[" * 200, b'"', b"\\ud800", b"1e999", b"NaN", b"null"),
    *(b"9" * 400, b"A" * 9000),
)
"""What means something to somebody who reads HTTP or JSON."""


@dataclass
class Drawn:
    """What goes over one connection."""

    data: bytes
    cuts: tuple[int, ...]
    """Where it is cut into pieces that are sent one by one."""
    is_abandoned: bool
    """Whether the client goes away without reading an answer."""


@dataclass
class Drawer:
    """Draws requests from a seed, and remembers what may be stored."""

    rng: random.Random
    api: OpenApiUnderTest
    signed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Every submission that was rightly signed, by its idempotency key. Spoiling may give several
    the same one: the first that is accepted counts."""
    _count: int = 0

    def connection(self) -> Drawn:
        """One to four requests one after the other, mostly with something wrong."""
        last = self.rng.choice((0, 0, 0, 1, 3))
        data = b"".join(self._one(keep_alive=number < last) for number in range(last + 1))
        count = self.rng.choice((0, 0, 1, 5))
        cuts = sorted(self.rng.randrange(len(data) + 1) for _ in range(count))
        return Drawn(data, tuple(cuts), self.rng.random() < 0.05)

    def honest(self) -> bytes:
        """A submission with nothing wrong, behind which the server closes."""
        body = self._submission("honest")
        return self._signed("POST", COMMANDS, body, keep_alive=False)

    def _one(self, *, keep_alive: bool) -> bytes:
        kind = self.rng.random()
        if kind < 0.1:
            return self._noise()
        if kind < 0.45:
            return self._signed_after_spoiling(keep_alive=keep_alive)
        whole = self._any(keep_alive=keep_alive)
        for _ in range(self.rng.choice((0, 0, 1, 1, 2, 5))):
            whole = self._spoilt(whole)
        return whole

    def _noise(self) -> bytes:
        if self.rng.random() < 0.5:
            return self.rng.randbytes(self.rng.randrange(1, 400))
        count = self.rng.randrange(1, 12)
        return b"".join(self.rng.choice((*PIECES, *METHODS)) for _ in range(count))

    def _any(self, *, keep_alive: bool) -> bytes:
        """An honest request, or one that lacks nothing but a signature."""
        body = b""
        method, target = "GET", self.rng.choice(TARGETS)
        if target == COMMANDS:
            method, body = "POST", self._submission("signed")
        elif target.endswith("/reply"):
            method, body = "POST", b'{"reply_code":0}'
        if self.rng.random() < 0.2:
            body = self._submission("unsigned") if target == COMMANDS else body
            wrong = dict.fromkeys(self.rng.sample(_HEADERS, self.rng.randrange(5)), "x")
            return request(method, target, (JSON | wrong).items(), body, keep_alive=keep_alive)
        if self.rng.random() < 0.3 and target.startswith("/"):
            target += self.rng.choice(("?a=1", "?device_id=dock-001", "?b&a", "?%", "?vendor=dji"))
        return self._signed(method, target, body, keep_alive=keep_alive)

    def _signed_after_spoiling(self, *, keep_alive: bool) -> bytes:
        """What a caller with a key may send: the signature fits whatever else is wrong."""
        target = self.rng.choice((COMMANDS, COMMANDS, REPLY))
        body = self._submission("spoilt") if target == COMMANDS else b'{"reply_code":0}'
        kind = self.rng.random()
        if kind < 0.7:
            message = Message("thing/product/dock-001/none", orjson.loads(body), "dock", ())
            _, body = spoil(self.rng, message)
        elif kind < 0.85:
            body = spoil_bytes(self.rng, body)
        else:
            piece = self.rng.choice(_IN_A_TARGET)
            at = self.rng.randrange(1, len(target))
            target = f"{target[:at]}{piece}{target[at:]}"
        self._remember(body)
        return self._signed("POST", target, body, keep_alive=keep_alive)

    def _submission(self, kind: str) -> bytes:
        self._count += 1
        body = orjson.dumps(submission(idempotency_key=f"{kind}-{self._count}"))
        if kind != "unsigned":
            self._remember(body)
        return body

    def _remember(self, body: bytes) -> None:
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError:
            return
        if isinstance(said, dict):
            self.signed.setdefault(str(said.get("idempotency_key")), []).append(said)

    def _signed(self, method: str, target: str, body: bytes, *, keep_alive: bool) -> bytes:
        self._count += 1
        headers = self.api.sign(method, target, body, nonce=f"nonce-{self._count}")
        if body:
            headers |= JSON
        return request(method, target, headers.items(), body, keep_alive=keep_alive)

    def _spoilt(self, whole: bytes) -> bytes:
        """A request that is no longer what was signed, or only looks so."""
        rng, at = self.rng, self.rng.randrange(len(whole) + 1)
        match rng.randrange(6):
            case 0:
                return whole[:at] + rng.choice(PIECES) + whole[at:]
            case 1:
                return whole[:at] + whole[at + rng.randrange(1, 20) :]
            case 2:
                return whole[:at] + bytes([rng.randrange(256)]) + whole[at + 1 :]
            case 3:
                lines = whole.split(b"\r\n")
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                return b"\r\n".join(lines)
            case 4:
                return rng.choice(METHODS) + whole[whole.find(b" ") :]
            case _:
                return whole[:at]


_HEADERS: Final = (signature.API_ID, signature.TIMESTAMP, signature.NONCE, signature.SIGNATURE)
_IN_A_TARGET: Final = (
    *("/", "//", "%2F", "%00", "..", "/../", ";a=b", "?", "?a", "%", "%zz", "\\", "é"),
)
