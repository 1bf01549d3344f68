"""The signature of the open API."""

import pytest

from dockgate_server.access import signature

# RFC 4231: key, data, HMAC-SHA256. Of case 5, which is about truncation, the first 128 bits.
RFC_4231 = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size "
            b"data. The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@pytest.mark.parametrize(("key", "message", "expected"), RFC_4231)
def test_vectors_of_rfc_4231_come_out(key: bytes, message: bytes, expected: str) -> None:
    """The signing code is HMAC-SHA256 as the RFC has it."""
    assert signature.sign(key, message) == expected
    assert signature.fits(key, message, expected)
    assert not signature.fits(key, message, expected[:-1] + "0")


def test_truncated_vector_of_rfc_4231_is_what_it_begins_with() -> None:
    """A shortened signature is none here."""
    signed = signature.sign(b"\x0c" * 20, b"Test With Truncation")
    assert signed[:32] == "a3b6167473100ee06e0c796c2955552b"
    assert not signature.fits(b"\x0c" * 20, b"Test With Truncation", signed[:32])


def test_every_key_is_tried_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the time does not tell which of two secrets was used."""
    signed = signature.sign(b"old", b"message")
    tried = _count_hmacs(monkeypatch)
    for keys in ((b"old", b"new"), (b"new", b"old")):
        assert signature.fits_one_of(keys, b"message", signed)
    assert not signature.fits_one_of((b"new", b"newer"), b"message", signed)
    assert tried == [b"old", b"new", b"new", b"old", b"new", b"newer"]


def _count_hmacs(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys with which something is signed from now on."""
    tried: list[bytes] = []
    sign = signature.sign

    def counted(key: bytes, message: bytes) -> str:
        tried.append(key)
        return sign(key, message)

    monkeypatch.setattr(signature, "sign", counted)
    return tried


def test_vector_of_the_documentation_comes_out() -> None:
    """Who writes a client in another language can compare line by line."""
    headers = signature.signed_headers(
        api_id="dk_0123456789abcdef",
        secret="dks_secret-of-the-documentation",
        method="POST",
        target="/api/v1/open/downlink/commands?b=%20&a=2&a=1",
        timestamp=1776859200,
        nonce="nonce-0001",
        body=b"{}",
    )
    assert headers == {
        "X-Api-Id": "dk_0123456789abcdef",
        "X-Api-Timestamp": "1776859200",
        "X-Api-Nonce": "nonce-0001",
        "X-Api-Signature": "87d01e484f1a1fc0867095a1847c94858232c8763863d44bd13eb8ad6e27aff2",
    }
    assert signature.__doc__ is not None
    assert headers["X-Api-Signature"] in signature.__doc__


def test_canonical_request_has_eight_lines_some_of_them_empty() -> None:
    """A GET without query and nonce has an empty line for each, and the hash of no bytes."""
    message = signature.canonical_request(
        method="GET",
        path="/a%20b",
        query="",
        api_id="id",
        timestamp="1",
        nonce="",
        body=b"",
    )
    assert message.split(b"\n") == [
        b"UTMOS-HMAC-SHA256",
        b"GET",
        b"/a%20b",
        b"",
        b"id",
        b"1",
        b"",
        b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ]


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("", ""),
        ("a=1", "a=1"),
        ("b=1&a=2", "a=2&b=1"),
        ("a=2&a=1", "a=1&a=2"),
        ("a=10&a=9", "a=10&a=9"),
        ("b&a=%41", "a=%41&b"),
        ("a-b=1&a=2", "a=2&a-b=1"),
        ("a=1=2&a=1", "a=1&a=1=2"),
        ("b=%20+&&a=", "&a=&b=%20+"),
    ],
)
def test_query_is_sorted_by_name_then_value_and_left_as_it_was_sent(
    sent: str, canonical: str
) -> None:
    """Sorting compares names before values, so "a" stands before "a-b" whatever follows it."""
    assert signature.canonical_query(sent) == canonical


def test_signature_of_strange_characters_does_not_fit_and_does_not_raise() -> None:
    """Whatever a header holds can be compared."""
    for strange in ("é", "\udcff", "", "0" * 10_000):
        assert not signature.fits(b"key", b"message", strange)
