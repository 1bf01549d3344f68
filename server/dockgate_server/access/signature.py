r"""The signature of the open API: what is signed and how. Pure.

A request is written as eight lines joined by ``\n`` (no newline at the end), and the lines are
signed with HMAC-SHA256 under the API key. Source: the open-api contract; the platform's page
fixes the first line and that there are eight.

A ready test vector, with the secret ``dks_secret-of-the-documentation``::

    UTMOS-HMAC-SHA256
    POST
    /api/v1/open/downlink/commands
    a=1&a=2&b=%20
    dk_0123456789abcdef
    1776859200
    nonce-0001
    44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a

The query was sent as ``b=%20&a=2&a=1``, the body as ``{}``, and the signature is
``87d01e484f1a1fc0867095a1847c94858232c8763863d44bd13eb8ad6e27aff2``.
"""

import hashlib
import hmac
from collections.abc import Sequence

ALGORITHM = "UTMOS-HMAC-SHA256"
"""The first line, and the scheme that a 401 names in ``WWW-Authenticate``."""

API_ID = "X-Api-Id"
TIMESTAMP = "X-Api-Timestamp"
NONCE = "X-Api-Nonce"
SIGNATURE = "X-Api-Signature"


def canonical_query(query: str) -> str:
    """The query string with its pairs sorted by name, then value, each as it was sent.

    Nothing is decoded and nothing is left out: ``b&a=%41`` becomes ``a=%41&b``.
    """
    if "&" not in query:
        return query
    return "&".join(sorted(query.split("&"), key=lambda pair: pair.partition("=")[::2]))


def canonical_request(
    *,
    method: str,
    path: str,
    query: str,
    api_id: str,
    timestamp: str,
    nonce: str,
    body: bytes,
) -> bytes:
    """The eight lines that are signed.

    Args:
        method: The HTTP method, in capitals.
        path: The path, percent-encoded as sent, without the query.
        query: What stands behind the ``?``, as sent; empty when there is none.
        api_id: The header ``X-Api-Id``.
        timestamp: The header ``X-Api-Timestamp``: Unix seconds.
        nonce: The header ``X-Api-Nonce``; empty when there is none.
        body: The raw body; empty for GET.
    """
    lines = (
        ALGORITHM,
        method,
        path,
        canonical_query(query),
        api_id,
        timestamp,
        nonce,
        hashlib.sha256(body).hexdigest(),
    )
    # Bytes that are not UTF-8 come from the HTTP parser as lone surrogates and go back as sent.
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def sign(key: bytes, message: bytes) -> str:
    """HMAC-SHA256 of the message, as 64 lower-case hex digits (RFC 2104, RFC 4231)."""
    # Not digest(), which lets other threads run, and then has to wait for them.
    return hmac.new(key, message, "sha256").hexdigest()


def fits(key: bytes, message: bytes, signature: str) -> bool:
    """Whether that is the signature, found out in a time that does not tell how nearly it is."""
    given = signature.encode("utf-8", "surrogateescape")
    return hmac.compare_digest(sign(key, message).encode(), given)


def fits_one_of(keys: Sequence[bytes], message: bytes, signature: str) -> bool:
    """Whether one of the keys has made the signature; each is tried, whichever it is."""
    fitting = [fits(key, message, signature) for key in keys]
    return any(fitting)


def signed_headers(
    *,
    api_id: str,
    secret: str,
    method: str,
    target: str,
    timestamp: int,
    nonce: str = "",
    body: bytes = b"",
) -> dict[str, str]:
    """The headers that a client sends with a request.

    Args:
        api_id: The API ID.
        secret: Its API key.
        method: The HTTP method, in capitals.
        target: Path and query as they will be sent, e.g. ``/api/v1/open/x?a=1``.
        timestamp: Unix seconds now.
        nonce: Something never used before; may be left out for GET alone.
        body: The body, byte for byte.
    """
    path, _, query = target.partition("?")
    message = canonical_request(
        method=method,
        path=path,
        query=query,
        api_id=api_id,
        timestamp=str(timestamp),
        nonce=nonce,
        body=body,
    )
    headers = {API_ID: api_id, TIMESTAMP: str(timestamp)}
    if nonce:
        headers[NONCE] = nonce
    return headers | {SIGNATURE: sign(secret.encode(), message)}
