"""Requests as an attacker would send them, each with its name and the answer that is right.

Every one is a whole request, byte for byte. It is made like an honest one, rightly signed, and
differs from that in what its name says.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from support.open_api import COMMANDS, JSON, OpenApiUnderTest, submission
from support.raw_http import request

from dockgate_server.access import signature

BODY = orjson.dumps(submission())
UNKNOWN = f"{COMMANDS}/03fb4905-d3cf-68b0-36fc-36975d618724"
HEADERS = (signature.API_ID, signature.TIMESTAMP, signature.NONCE, signature.SIGNATURE)


@dataclass(frozen=True)
class Attack:
    """A request that must get nowhere."""

    name: str
    status: int
    code: str
    make: Callable[[OpenApiUnderTest], bytes]
    signed: bool = False
    """Whether its signature is right, so that its nonce is used up."""


def sent(
    api: OpenApiUnderTest,
    method: str = "POST",
    target: str = COMMANDS,
    body: bytes = BODY,
    *,
    as_method: str | None = None,
    as_target: str | None = None,
    as_body: bytes | None = None,
    without: str = "",
    instead: Mapping[str, str] | None = None,
    beside: Iterable[tuple[str, str]] = (),
    **parts: Any,
) -> bytes:
    """A rightly signed request, sent otherwise than it was signed.

    Args:
        api: Whose key signs.
        method: The method that is signed.
        target: The target that is signed.
        body: The body that is signed.
        as_method: The method that is sent.
        as_target: The target that is sent.
        as_body: The body that is sent.
        without: A header that is left out.
        instead: Headers with other values.
        beside: Header lines that are added.
        **parts: For the signature: timestamp, nonce, key.
    """
    headers = (JSON if body else {}) | api.sign(method, target, body, **parts)
    headers = {name: value for name, value in headers.items() if name != without}
    lines = [*(headers | dict(instead or {})).items(), *beside]
    return request(
        as_method or method,
        target if as_target is None else as_target,
        lines,
        body if as_body is None else as_body,
    )


def _unauthorized(name: str, **change: Any) -> Attack:
    return Attack(name, 401, "UNAUTHORIZED", lambda api: sent(api, **change))


def _invalid(name: str, **change: Any) -> Attack:
    return Attack(name, 401, "SIGNATURE_INVALID", lambda api: sent(api, **change))


def _header_attacks() -> list[Attack]:
    """Each header missing, doubled, oversized, not ASCII."""
    found = []
    too_long = dict(zip(HEADERS, ("k" * 65, "1" * 13, "n" * 129, "0" * 8300), strict=True))
    for name in HEADERS:
        is_signature = name == signature.SIGNATURE
        wrong = _invalid if is_signature else _unauthorized
        found += [
            _unauthorized(f"{name} is missing", without=name),
            _unauthorized(f"{name} is empty", instead={name: ""}),
            _unauthorized(f"{name} stands twice, the second is another", beside=[(name, "x")]),
            _unauthorized(
                f"{name} stands twice, in two spellings of its name", beside=[(name.lower(), "x")]
            ),
            wrong(f"{name} is not ASCII", instead={name: "é"}),
            wrong(f"{name} is no UTF-8", instead={name: "\udcff\udcfe"}),
            wrong(f"{name} has a space in it", instead={name: "1 1"}),
        ]
        found.append(
            Attack(
                f"{name} is longer than a line may be",
                400,
                "INVALID_REQUEST_BODY",
                lambda api, name=name: sent(api, instead={name: "1" * 8300}),
            )
        )
        if not is_signature:
            found.append(_unauthorized(f"{name} is oversized", instead={name: too_long[name]}))
    return found


def _doubled(api: OpenApiUnderTest, name: str) -> bytes:
    """The same header with the same value twice: harmless, but two readers may differ in it."""
    value = "same"
    return sent(api, instead={name: value}, beside=[(name, value)])


HEADER_ATTACKS = [
    *_header_attacks(),
    *(
        Attack(
            f"{name} stands twice, both the same",
            401,
            "UNAUTHORIZED",
            lambda api, name=name: _doubled(api, name),
        )
        for name in HEADERS
    ),
]


def _at(skew: int) -> Callable[[OpenApiUnderTest], bytes]:
    return lambda api: sent(api, timestamp=api.now + skew)


TIME_ATTACKS = [
    Attack("signed 301 s ago", 401, "TIMESTAMP_EXPIRED", _at(-301)),
    Attack("signed 301 s ahead", 401, "TIMESTAMP_EXPIRED", _at(301)),
    Attack("signed in 1970", 401, "TIMESTAMP_EXPIRED", lambda api: sent(api, timestamp=0)),
    _unauthorized("signed in milliseconds", timestamp="1776859200000"),
    _unauthorized("timestamp with a fraction", timestamp="1776859200.0"),
    _unauthorized("timestamp with a sign", timestamp="+1776859200"),
    _unauthorized("timestamp below zero", timestamp="-1"),
    _unauthorized("timestamp in hex", timestamp="0x69e8b5c0"),
    _unauthorized("timestamp with an underscore", timestamp="1_776_859_200"),
    _unauthorized("timestamp in Arabic digits", timestamp="١٧٧٦٨٥٩٢٠٠"),
]

TAMPERING = [
    _invalid("body with a space behind it", as_body=BODY + b" "),
    _invalid("body for another device", as_body=BODY.replace(b"drone-001", b"drone-002")),
    _invalid("body exchanged for one that is not JSON", as_body=b"not json"),
    _invalid("body left out", as_body=b""),
    _invalid("body that was signed empty", body=b"", as_body=BODY, beside=JSON.items()),
    _invalid("path of another command", method="GET", body=b"", target=UNKNOWN,
             as_target=UNKNOWN.replace("03fb", "04fb")),
    _invalid("path in other letters", method="GET", body=b"", target=UNKNOWN,
             as_target=UNKNOWN.replace("03fb", "03FB")),
    _invalid("path with one letter encoded", method="GET", body=b"", target=UNKNOWN,
             as_target=UNKNOWN.replace("03fb", "%303fb")),
    _invalid("query added", as_target=f"{COMMANDS}?a=1"),
    _invalid("query dropped", target=f"{COMMANDS}?a=1", as_target=COMMANDS),
    _invalid("query with another value", target=f"{COMMANDS}?a=1", as_target=f"{COMMANDS}?a=2"),
    _invalid("query encoded otherwise", target=f"{COMMANDS}?a=1", as_target=f"{COMMANDS}?a=%31"),
    _invalid("query with a pair more", target=f"{COMMANDS}?a=1", as_target=f"{COMMANDS}?a=1&a=1"),
    _invalid("query with + for %20", target=f"{COMMANDS}?a=%20", as_target=f"{COMMANDS}?a=+"),
    _invalid("query with ; for &", target=f"{COMMANDS}?a&b", as_target=f"{COMMANDS}?a;b"),
    _invalid("method POST that was signed as GET", method="GET", as_method="POST"),
    _invalid("method GET that was signed as POST", target=UNKNOWN, body=b"", as_method="GET"),
    _invalid("timestamp changed", instead={signature.TIMESTAMP: "1776859201"}),
    _invalid("nonce changed", instead={signature.NONCE: "another"}),
    _invalid("nonce moved into the timestamp's line", timestamp="1776859200", nonce="",
             instead={signature.NONCE: "1"}),
    _invalid("signature of zeros", instead={signature.SIGNATURE: "0" * 64}),
    _invalid("signature cut short", instead={signature.SIGNATURE: "0"}),
    _invalid("signature of 8,000 letters", instead={signature.SIGNATURE: "a" * 8000}),
    _unauthorized("API ID that does not exist", instead={signature.API_ID: "dk_0123456789abcdef"}),
    _unauthorized("API ID in other letters", instead={signature.API_ID: "DK_0123456789ABCDEF"}),
    _unauthorized("API ID with SQL in it", instead={signature.API_ID: "'OR'1'='1"}),
]  # fmt: skip


def _capitals(api: OpenApiUnderTest) -> bytes:
    signed = api.sign("POST", COMMANDS, BODY)
    signed[signature.SIGNATURE] = signed[signature.SIGNATURE].upper()
    return request("POST", COMMANDS, (JSON | signed).items(), BODY)


def _prefixed(api: OpenApiUnderTest) -> bytes:
    signed = api.sign("POST", COMMANDS, BODY)
    signed[signature.SIGNATURE] = f"sha256={signed[signature.SIGNATURE]}"
    return request("POST", COMMANDS, (JSON | signed).items(), BODY)


TAMPERING += [
    Attack("signature in capitals", 401, "SIGNATURE_INVALID", _capitals),
    Attack("signature with a prefix", 401, "SIGNATURE_INVALID", _prefixed),
]


def _elsewhere(name: str, target: str, method: str = "POST") -> Attack:
    """A target that some other parser might take for ours; signed as it is sent."""
    body = BODY if method == "POST" else b""
    return Attack(f"path {name}", 404, "NOT_FOUND", lambda api: sent(api, method, target, body))


def _unreadable(name: str, target: str) -> Attack:
    """A target that HTTP does not allow."""
    return Attack(
        f"path {name}", 400, "INVALID_REQUEST_BODY", lambda api: sent(api, as_target=target)
    )


def _no_command(name: str, target: str) -> Attack:
    return Attack(
        f"id {name}",
        404,
        "COMMAND_NOT_FOUND",
        lambda api: sent(api, "GET", target, b""),
        signed=True,
    )


PATHS = [
    _elsewhere("with a slash encoded", "/api/v1/open%2Fdownlink/commands"),
    _elsewhere("with a letter encoded", "/api/v1/open/downlink/comm%61nds"),
    _elsewhere("with a slash twice", "/api/v1/open//downlink/commands"),
    _elsewhere("with slashes in front", f"/{COMMANDS}"),
    _elsewhere("with dots to be resolved", "/api/v1/open/x/../downlink/commands"),
    _elsewhere("with a dot to be resolved", "/api/v1/open/./downlink/commands"),
    _elsewhere("with encoded dots", "/api/v1/open/x/%2e%2e/downlink/commands"),
    _elsewhere("with a parameter", f"{COMMANDS};v=1"),
    _elsewhere("with a parameter in the middle", "/api/v1/open;v=1/downlink/commands"),
    _elsewhere("with a zero byte", f"{COMMANDS}%00"),
    _elsewhere("with a slash at its end", f"{COMMANDS}/"),
    _elsewhere("in capitals", COMMANDS.upper()),
    _elsewhere("with a line break encoded", f"{COMMANDS}%0d%0aX-Api-Id:x"),
    _elsewhere("with a space at its end", f"{COMMANDS}%20"),
    _elsewhere("with its question mark encoded", f"{COMMANDS}%3Fa=1"),
    _unreadable("with backslashes", COMMANDS.replace("/", "\\")),
    _unreadable("with letters of full width", "/api/v1/open/downlink/ｃommands"),
    _unreadable("with a zero byte as it is", f"{COMMANDS}\0"),
    _unreadable("with a tab", f"{COMMANDS}\t"),
    _unreadable("with a space", f"{COMMANDS} x"),
    _unreadable("of more than a line", f"{COMMANDS}?{'a' * 8300}"),
    _elsewhere("that climbs to a file", "/docs/../../../etc/passwd", "GET"),
    _elsewhere("of nothing at all", "http://dockgate.example", "GET"),
    _no_command("that climbs", f"{COMMANDS}/%2e%2e"),
    _no_command("with a slash encoded", f"{COMMANDS}/x%2Fy"),
    _no_command("with a zero byte", f"{UNKNOWN}%00"),
    _no_command("with a parameter", f"{UNKNOWN};a=b"),
    _no_command("with braces", f"{COMMANDS}/{{03fb4905-d3cf-68b0-36fc-36975d618724}}"),
    _no_command("with SQL in it", f"{COMMANDS}/'%20OR%201=1--"),
    Attack("verb in small letters", 400, "INVALID_REQUEST_BODY",
           lambda api: sent(api, as_method="post")),
    Attack("verb overridden by a header", 405, "METHOD_NOT_ALLOWED",
           lambda api: sent(api, as_method="PUT", beside=[("X-HTTP-Method-Override", "POST")])),
    Attack("verb that nobody knows", 405, "METHOD_NOT_ALLOWED",
           lambda api: sent(api, as_method="PROPFIND")),
]  # fmt: skip


def _body(name: str, body: bytes, code: str = "INVALID_REQUEST_BODY", status: int = 400) -> Attack:
    """A body that is signed as it is sent."""
    return Attack(f"JSON {name}", status, code, lambda api: sent(api, body=body), signed=True)


JSON_ATTACKS = [
    Attack("JSON that is missing", 400, "INVALID_REQUEST_BODY",
           lambda api: sent(api, body=b"", beside=JSON.items()), signed=True),
    _body("with a key twice", BODY.replace(b'"vendor":', b'"device_id":"dock-001","vendor":')),
    _body("with a key twice, once escaped",
          BODY.replace(b'"vendor":', b'"vend\\u006fr":"x","vendor":')),
    _body("with a key twice in the payload",
          BODY.replace(b'"payload_index":', b'"payload_index":"1","payload_index":')),
    _body("of 10,000 arrays", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    _body("of 10,000 objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    _body("of 10,000 arrays that nobody closes", b"[" * 10_000),
    _body("with NaN", BODY.replace(b'"dji"', b"NaN")),
    _body("with Infinity", BODY.replace(b'"dji"', b"-Infinity")),
    _body("with a number beyond doubles", BODY.replace(b'"dji"', b"1e999")),
    _body("with a number of 100,000 digits", BODY.replace(b'"dji"', b"9" * 100_000)),
    _body("with 100,000 digits behind the point", BODY.replace(b'"dji"', b"0." + b"9" * 100_000),
          "VALIDATION_FAILED"),
    _body("with a lone surrogate", BODY.replace(b"dji", b"\\ud800")),
    _body("with surrogates the wrong way round", BODY.replace(b"dji", b"\\udc00\\ud800")),
    _body("with a surrogate in UTF-8", BODY.replace(b"dji", b"\xed\xa0\x80")),
    _body("with an overlong character", BODY.replace(b"dji", b"\xc0\xaf")),
    _body("that is no UTF-8", BODY.replace(b"dji", b"\xff")),
    _body("in UTF-16", BODY.decode().encode("utf-16")),
    _body("in UTF-16 without a mark", BODY.decode().encode("utf-16-le")),
    _body("in UTF-32", BODY.decode().encode("utf-32")),
    _body("behind a byte order mark", b"\xef\xbb\xbf" + BODY),
    _body("with a comment", BODY.replace(b"{", b"{/* */", 1)),
    _body("with a comma too many", BODY.replace(b"}", b",}", 1)),
    _body("in single quotes", BODY.replace(b'"', b"'")),
    _body("with a zero byte behind it", BODY + b"\0"),
    _body("with a tab in a text", BODY.replace(b"dji", b"d\tji")),
    _body("twice", BODY + BODY),
    _body("that is null", b"null"),
    _body("that is none", b"not json"),
    _body("that is a text", b'"text"'),
    _body("nested in 1,000 arrays", b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"),
    _body("that is an array", b"[" + BODY + b"]"),
    _body("that is a text with the object in it", orjson.dumps(BODY.decode())),
    _body("with a prototype", BODY.replace(b"{", b'{"__proto__":{"vendor":"dji"},', 1),
          "VALIDATION_FAILED"),
    _body("with 20,000 members", orjson.dumps({f"m{n}": 1 for n in range(20_000)}),
          "VALIDATION_FAILED"),
    _body("with a device of 100,000 letters", orjson.dumps(submission(device_id="x" * 100_000)),
          "VALIDATION_FAILED"),
    _body("with a zero byte in the device", orjson.dumps(submission(device_id="drone-001\0")),
          "VALIDATION_FAILED"),
    _body("with a topic in the device", orjson.dumps(submission(device_id="+/services/#")),
          "VALIDATION_FAILED"),
    _body("with another's dock in the device", orjson.dumps(submission(device_id="dock-999")),
          "DEVICE_NOT_FOUND", 404),
]  # fmt: skip


def _of_type(name: str, **headers: str) -> Attack:
    instead = {key.replace("_", "-"): value for key, value in headers.items()}
    return Attack(
        f"type {name}", 415, "UNSUPPORTED_MEDIA_TYPE", lambda api: sent(api, instead=instead)
    )


TYPE_ATTACKS = [
    _of_type("text, which needs no preflight", Content_Type="text/plain"),
    _of_type("of a form", Content_Type="application/x-www-form-urlencoded"),
    _of_type("of many parts", Content_Type="multipart/form-data; boundary=x"),
    _of_type("in another charset", Content_Type="application/json; charset=utf-7"),
    _of_type("compressed", Content_Encoding="gzip"),
    Attack("type missing", 415, "UNSUPPORTED_MEDIA_TYPE",
           lambda api: sent(api, without="Content-Type")),
]  # fmt: skip

ALL = [*HEADER_ATTACKS, *TIME_ATTACKS, *TAMPERING, *PATHS, *JSON_ATTACKS, *TYPE_ATTACKS]
