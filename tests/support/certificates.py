"""Certificates: for the right name or another, valid or expired, of one authority or another."""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

# Of an authority, Python insists on it from 3.13 on, as it does on the identifiers of keys.
_SIGNS = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def write(folder: Path, address: str = "127.0.0.1", *, days: int = 1) -> tuple[Path, Path]:
    """The files of a certificate and its key; negative ``days`` make one that has expired.

    Whoever trusts it has the certificate as its authority.
    """
    folder.mkdir(parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    # Whoever trusts several tells them by their names.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(folder)[-60:])])
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - datetime.timedelta(days=10))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(_unencrypted(private))
    return files


class Authority:
    """Signs certificates of servers and clients; who trusts it has ``certificate``."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = write(folder)
        self._folder = folder
        signer = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        self._signer = signer
        self._issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject

    def issue(
        self,
        name: str,
        address: str | None = None,
        *,
        days: int = 1,
        names: Sequence[x509.GeneralName] = (),
    ) -> tuple[Path, Path]:
        """The files of a certificate and its key: a server's for an address, else a client's.

        Args:
            name: Its common name, and that of the files; issued again, it replaces them.
            address: Where the server is.
            days: How long it holds; negative for one that has expired.
            names: Its other names.
        """
        private = ec.generate_private_key(ec.SECP256R1())
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._issuer)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - datetime.timedelta(days=10))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._signer.public_key()),
                critical=False,
            )
        )
        if address is not None:
            names = (*names, x509.IPAddress(ipaddress.ip_address(address)))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._signer, hashes.SHA256())
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(_unencrypted(private))
        return files


def weak() -> tuple[bytes, bytes]:
    """A certificate and its key that belong together, but are too small for OpenSSL."""
    private = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    begins = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _unencrypted(private)


def _unencrypted(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


ODD_KEY = """\
-----BEGIN EC PRIVATE KEY-----
MD4CAQEEDl/2X6P0xgRPxKBHW53joAcGBSuBBAAGoSADHgAEC9zg42cfLm38TVoC
sPu68ok4c+SszN2RdXWOKQ==
-----END EC PRIVATE KEY-----
"""
"""On a curve (secp112r1) that is not used for TLS."""

ODD_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBJjCB8qADAgECAhRdlTk557wgd9FzIFUe0a+VhhJIezAKBggqhkjOPQQDAjAO
MQwwCgYDVQQDDANvZGQwIBcNMjYxMTIwMjMzMzM3WhgPMjEyNjEwMjcyMzMzMzda
MA4xDDAKBgNVBAMMA29kZDAyMBAGByqGSM49AgEGBSuBBAAGAx4ABAvc4ONnHy5t
/E1aArD7uvKJOHPkrMzdkXV1jimjUzBRMB0GA1UdDgQWBBQaAp+nC48DrysTXN4v
9JrLDAraUDAfBgNVHSMEGDAWgBQaAp+nC48DrysTXN4v9JrLDAraUDAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCAyMAMCACDhwJCIPIcTdGiiQlPH0vAg4t7+hc
ZsZdFJXmWEXpHA==
-----END CERTIFICATE-----
"""
"""Its certificate."""
