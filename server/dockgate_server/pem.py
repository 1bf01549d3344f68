"""Certificates and keys in files: whether they can be used, before anything is served with them."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

_NO_CERTIFICATE = "has no certificate that can be read"


@dataclass(frozen=True)
class Pem:
    """A certificate with its key and, for mutual TLS, the authorities of clients, as in files."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


def read(certificate: Path, key: Path, client_ca: Path | None) -> Pem:
    """Read the files and make sure that a server can use them.

    Raises:
        OSError: A file cannot be read.
        ValueError: It is not what it should be, or key and certificate do not belong together.
    """
    own, authorities = read_once(certificate, key), None
    if client_ca is not None:
        authorities = client_ca.read_bytes()
        check_authorities(authorities, client_ca)
    try:
        # What OpenSSL makes of them, which may allow less.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(f"{certificate} and {key} cannot be used: {_line(error)}") from error
    return Pem(own.certificate, own.key, authorities)


def read_once(certificate: Path, key: Path) -> Pem:
    """Read a certificate and its key, which may be pipes.

    Raises:
        OSError: A file cannot be read.
        ValueError: It is not what it should be, or the two do not belong together.
    """
    pem = Pem(certificate.read_bytes(), key.read_bytes(), None)
    # Here, as a server without TLS needs none of it: it is large.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    first = _certificates(pem.certificate, certificate)[0]
    try:
        private = load_pem_private_key(pem.key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise ValueError(f"{key} has no private key that can be read: {_line(error)}") from error
    try:
        public = first.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{certificate} has no key that can be used: {_line(error)}") from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_bytes(*form) != public.public_bytes(*form):
        raise ValueError(f"the key in {key} does not belong to the certificate in {certificate}")
    return pem


def check_pair(certificate: Path, key: Path) -> None:
    """Make sure that a certificate and its key can be used.

    Raises:
        ValueError: They cannot; the message says why.
    """
    try:
        read(certificate, key, None)
    except OSError as error:
        raise ValueError(f"{certificate} and {key} cannot be used: {_line(error)}") from error


def check_certificates(file: Path) -> None:
    """Make sure that there are certificates of authorities in a file.

    Raises:
        ValueError: There are none; the message says why.
    """
    try:
        check_authorities(file.read_bytes(), file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {_line(error)}") from error


def check_authorities(pem: bytes, file: Path) -> None:
    """Make sure that there are certificates of authorities in what a file has.

    By OpenSSL, which takes what is odd in the bundle of a system.

    Raises:
        ValueError: There are none; the message says why.
    """
    text = pem.decode("ascii", "ignore")  # there may be names beside them
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{file} {_NO_CERTIFICATE}: {_line(error)}") from error


def _certificates(pem: bytes, file: Path) -> "list[x509.Certificate]":
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError(f"{file} {_NO_CERTIFICATE}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
