"""Sealing the secrets of API keys with a key that is not in the database.

Who reads a copy of the database can then sign nothing. AES-256-GCM; the API ID is authenticated
with the secret, so that a sealed secret is worth nothing under another ID.
"""

import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
"""The size of the key file: raw bytes, no text."""

_VERSION = b"\x01"
_NONCE_BYTES = 12


class SealingProblem(Exception):
    """Secrets cannot be sealed or unsealed; the message says which file and why."""


class SealingKey:
    """Seals secrets, and unseals what it has sealed."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, api_id: str, secret: str) -> bytes:
        """The secret in a form that can be stored: version, nonce, ciphertext with its tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), api_id.encode())

    def unseal(self, api_id: str, sealed: bytes) -> str:
        """The secret.

        Raises:
            SealingProblem: It was sealed with another key, for another API ID, or is damaged.
        """
        version, nonce, text = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if version != _VERSION:
                raise ValueError("an unknown form")
            return self._cipher.decrypt(nonce, text, api_id.encode()).decode()
        except (InvalidTag, ValueError):
            raise SealingProblem(
                f"the secret of API key {api_id} was not sealed with this sealing key"
            ) from None


def read_key(file: Path) -> SealingKey | None:
    """The key in the file; None when there is no such file.

    Raises:
        SealingProblem: The file cannot be read, has the wrong size, or others can read it.
    """
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            key = opened.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SealingProblem(f"cannot read the sealing key {file}: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise SealingProblem(
            f"the sealing key {file} can be used by others (mode {mode:04o}); "
            f"allow it to its owner alone: chmod 600 {file}"
        )
    if len(key) != KEY_BYTES:
        raise SealingProblem(
            f"the sealing key {file} must be exactly {KEY_BYTES} bytes; is it another file?"
        )
    return SealingKey(key)


def make_key(file: Path) -> SealingKey:
    """Make the file with a new key, or take the one that another process has just made.

    Raises:
        SealingProblem: The file cannot be written.
    """
    # Written aside and linked into place: nobody ever sees half a key, and of two processes
    # that make one at the same time both use the first.
    aside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(secrets.token_bytes(KEY_BYTES))
                opened.flush()
                # A secret sealed with a key that a power cut takes back is lost.
                os.fsync(opened.fileno())
            os.link(aside, file)
        except FileExistsError:
            pass
        finally:
            aside.unlink(missing_ok=True)
        _sync_folder(file.parent)
    except OSError as error:
        raise SealingProblem(f"cannot write the sealing key {file}: {error.strerror}") from error
    key = read_key(file)
    assert key is not None, "it was there a moment ago"
    return key


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
