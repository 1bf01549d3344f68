"""Keeping secrets in the database sealed, with a key that is not in the database.

Who has only a copy of the database learns none of them: not the secrets of API keys, not what
commands and answers carry. AES-256-GCM; what a secret belongs to is authenticated with it, so that
a sealed secret is worth nothing in another place. Each purpose has a key of its own, derived
from the one that is kept outside.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
"""The size of a key. A key file holds raw bytes, no text."""

_DIRECT = b"\x01"
"""Sealed with the key itself, as API keys were before each purpose had a key of its own."""
_DERIVED = b"\x02"
"""Sealed with the key of a purpose."""
_NONCE_BYTES = 12

_PAYLOADS, _KEPT = "payloads", "kept keys"
DIGESTS = "digests"
"""The purpose of the kept key of a :class:`Vault`."""


class SealingProblem(Exception):
    """Secrets cannot be sealed or unsealed; the message says which file and why."""


class _Sealer:
    """Seals for one purpose: version, nonce, ciphertext with its tag."""

    def __init__(self, key: bytes, version: bytes) -> None:
        self._cipher = AESGCM(key)
        self._version = version

    def seal(self, owner: str, content: bytes) -> bytes:
        # At random: a key would have to seal some billions of secrets before two share one.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._version + nonce + self._cipher.encrypt(nonce, content, owner.encode())

    def unseal(self, owner: str, sealed: bytes) -> bytes | None:
        version, nonce, text = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != self._version or len(nonce) < _NONCE_BYTES:
            return None
        try:
            return self._cipher.decrypt(nonce, text, owner.encode())
        except InvalidTag:
            return None


class SealingKey:
    """Seals the secrets of API keys, and is where the keys of all other purposes come from."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._direct = _Sealer(key, _DIRECT)
        self._api_keys = self.sealer("api keys")

    def derive(self, purpose: str) -> bytes:
        """The key of a purpose, 32 bytes. It tells nothing of the others."""
        info = f"dockgate {purpose}".encode()
        return HKDF(hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._key)

    def sealer(self, purpose: str) -> _Sealer:
        """What seals for a purpose."""
        return _Sealer(self.derive(purpose), _DERIVED)

    def seal(self, api_id: str, secret: str) -> bytes:
        """The secret of an API key in a form that can be stored."""
        return self._api_keys.seal(api_id, secret.encode())

    def unseal(self, api_id: str, sealed: bytes) -> str:
        """The secret of an API key.

        Raises:
            SealingProblem: It was sealed with another key, for another API ID, or is damaged.
        """
        secret = self._api_keys.unseal(api_id, sealed)
        if secret is None:
            secret = self._direct.unseal(api_id, sealed)
        if secret is None:
            raise SealingProblem(
                f"the secret of API key {api_id} was not sealed with this sealing key"
            )
        return secret.decode()


class Vault:
    """Seals what commands and answers carry, for as long as it must be kept.

    Args:
        key: The sealing key.
        digest_key: A random key that the database keeps, sealed: see :func:`new_kept_key`.
    """

    def __init__(self, key: SealingKey, digest_key: bytes) -> None:
        self._payloads = key.sealer(_PAYLOADS)
        self._digest_key = digest_key

    def seal(self, owner: str, data: bytes) -> bytes:
        """The `data` of a command or an answer, sealed for the id of its owner."""
        return self._payloads.seal(owner, data)

    def unseal(self, owner: str, sealed: bytes) -> bytes:
        """The `data` again.

        Raises:
            SealingProblem: It was sealed with another key, for another owner, or is damaged.
        """
        data = self._payloads.unseal(owner, sealed)
        if data is None:
            raise SealingProblem(f"what was sealed for {owner} cannot be opened: it is damaged")
        return data

    @staticmethod
    def is_sealed(data: bytes) -> bool:
        """Whether it has been sealed; JSON never looks so."""
        return data[:1] == _DERIVED

    def digest(self, plain: bytes) -> bytes:
        """A digest of content with secrets, from its SHA-256.

        Without a key, who has the database could try out what a short password might be.
        """
        return hmac.digest(self._digest_key, plain, hashlib.sha256)


def new_kept_key(key: SealingKey, purpose: str) -> bytes:
    """A new random key that the database keeps, sealed.

    For what cannot be done again under another sealing key: digests of content that is gone.
    """
    return key.sealer(_KEPT).seal(purpose, secrets.token_bytes(KEY_BYTES))


def open_kept_key(key: SealingKey, purpose: str, sealed: bytes) -> bytes:
    """A key that the database keeps.

    Raises:
        SealingProblem: It was sealed with another sealing key, or is damaged.
    """
    kept = key.sealer(_KEPT).unseal(purpose, sealed)
    if kept is None:
        raise SealingProblem("the database was not sealed with this sealing key")
    return kept


class Resealing:
    """Seals anew what was sealed with an old key.

    Each method raises SealingProblem for what the old key does not open.
    """

    def __init__(self, old: SealingKey, new: SealingKey) -> None:
        self._old, self._new = old, new
        self._opens, self._seals = Vault(old, b""), Vault(new, b"")

    def kept_key(self, purpose: str, sealed: bytes) -> bytes:
        """A key that the database keeps: the same one."""
        return self._new.sealer(_KEPT).seal(purpose, open_kept_key(self._old, purpose, sealed))

    def api_secret(self, api_id: str, sealed: bytes) -> bytes:
        """The secret of an API key."""
        return self._new.seal(api_id, self._old.unseal(api_id, sealed))

    def data(self, owner: str, sealed: bytes) -> bytes:
        """The `data` of a command or an answer."""
        return self._seals.seal(owner, self._opens.unseal(owner, sealed))


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the sealing key comes from: the environment, or a file."""

    file: Path
    key: bytes | None = field(default=None, repr=False)
    """The key itself where the settings give it; the file is then not looked at."""

    def __str__(self) -> str:
        if self.key is None:
            return str(self.file)
        return "the key in store.key (DOCKGATE_STORE__KEY)"

    def read(self) -> SealingKey | None:
        """The key; None when it is to be in a file that is not there.

        Raises:
            SealingProblem: The file cannot be read, has the wrong size, or others can read it.
        """
        return read_key(self.file) if self.key is None else SealingKey(self.key)

    def make(self) -> SealingKey:
        """The key; a new one in the file when it is not there.

        Raises:
            SealingProblem: As :meth:`read`, or the file cannot be written.
        """
        return self.read() or make_key(self.file)


def key_of_text(text: str) -> bytes:
    """A key from its text: 64 hexadecimal digits, or base64.

    Raises:
        ValueError: It is neither, or not 32 bytes; the message does not show it.
    """
    text = text.strip()
    try:
        key = (
            bytes.fromhex(text)
            if len(text) == 2 * KEY_BYTES
            else base64.b64decode(text, validate=True)
        )
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(
            f"must be {KEY_BYTES} bytes as {2 * KEY_BYTES} hexadecimal digits or in base64, "
            "as `openssl rand -hex 32` prints them"
        )
    return key


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
