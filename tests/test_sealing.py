"""The sealing key: where it comes from, what it seals, and how it is replaced."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from support.vault import VAULT

from dockgate_server import config, sealing
from dockgate_server.sealing import KeySource, Resealing, SealingKey, SealingProblem, Vault

KEY, OTHER = SealingKey(b"k" * 32), SealingKey(b"o" * 32)


def test_what_older_versions_have_sealed_still_opens() -> None:
    """They sealed the secrets of API keys with the key itself."""
    sealed = b"\x01" + b"n" * 12 + AESGCM(b"k" * 32).encrypt(b"n" * 12, b"secret", b"dk_1")
    assert KEY.unseal("dk_1", sealed) == "secret"
    with pytest.raises(SealingProblem):
        OTHER.unseal("dk_1", sealed)
    assert KEY.unseal("dk_1", Resealing(KEY, KEY).api_secret("dk_1", sealed)) == "secret"


def test_each_purpose_has_a_key_of_its_own() -> None:
    """What is sealed for one opens as no other."""
    assert KEY.derive("a") == KEY.derive("a") != KEY.derive("b")
    assert KEY.derive("a") != OTHER.derive("a")
    sealed = Vault(KEY, b"").seal("dk_1", b"data")
    with pytest.raises(SealingProblem):
        KEY.unseal("dk_1", sealed)
    with pytest.raises(SealingProblem):
        sealing.open_kept_key(KEY, "dk_1", sealed)


@pytest.mark.parametrize("damage", [0, 1, 5, 20, -1])
def test_what_was_sealed_opens_whole_and_for_its_owner_only(damage: int) -> None:
    """A sealed secret is worth nothing on another command."""
    sealed = VAULT.seal("c-1", b"data")
    assert VAULT.unseal("c-1", sealed) == b"data"
    assert VAULT.seal("c-1", b"data") != sealed
    broken = bytearray(sealed)
    broken[damage] ^= 1
    for owner, what in (("c-2", sealed), ("c-1", bytes(broken)), ("c-1", sealed[:damage])):
        with pytest.raises(SealingProblem):
            VAULT.unseal(owner, what)


def test_json_is_never_taken_for_sealed() -> None:
    """So what an older version has left can be told from what is sealed."""
    assert VAULT.is_sealed(VAULT.seal("c-1", b"{}"))
    assert not any(VAULT.is_sealed(one) for one in (b"{}", b"null", b" []", b'"a"', b""))


@pytest.mark.parametrize(
    "text", [bytes(range(32)).hex(), f" {base64.b64encode(bytes(range(32))).decode()}\n"]
)
def test_a_key_can_be_text(text: str) -> None:
    """Hexadecimal, or base64."""
    assert sealing.key_of_text(text) == bytes(range(32))


@pytest.mark.parametrize(
    "text", ["", "hush", "0" * 63, "g" * 64, "é" * 64, base64.b64encode(b"x" * 31).decode()]
)
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(text: str) -> None:
    """The message says how to make one."""
    with pytest.raises(ValueError, match="openssl rand") as refused:
        sealing.key_of_text(text)
    assert not text or text not in str(refused.value)


def test_a_key_in_the_settings_needs_no_file(tmp_path: Path) -> None:
    """None is read, and none is made."""
    source = KeySource(tmp_path / "none.key", b"k" * 32)
    sealed = source.make().seal("dk_1", "secret")
    read = source.read()
    assert read is not None
    assert read.unseal("dk_1", sealed) == "secret"
    assert not list(tmp_path.iterdir())
    assert str(source) == "the key in store.key (DOCKGATE_STORE__KEY)"
    assert "kkk" not in repr(source)


def test_a_key_in_a_file_is_made_once(tmp_path: Path) -> None:
    """And is the same from then on."""
    source = KeySource(tmp_path / "a.key")
    assert source.read() is None
    sealed = source.make().seal("dk_1", "secret")
    assert source.make().unseal("dk_1", sealed) == "secret"
    assert str(source) == str(tmp_path / "a.key")


def test_the_settings_say_where_the_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, or in a file; never in both, and never in what is printed."""
    monkeypatch.setenv("DOCKGATE_STORE__PATH", str(tmp_path / "d.db"))
    assert config.load().store.sealing_key == KeySource(tmp_path / "d.db.key")
    monkeypatch.setenv("DOCKGATE_STORE__KEY", (b"k" * 32).hex())
    settings = config.load()
    assert settings.store.sealing_key == KeySource(tmp_path / "d.db.key", b"k" * 32)
    assert (b"k" * 32).hex() not in repr(settings)
    for name, value in (("KEY_FILE", "other.key"), ("KEY", "too short")):
        with monkeypatch.context() as wrong:
            wrong.setenv(f"DOCKGATE_STORE__{name}", value)
            with pytest.raises(config.ConfigProblem, match=r"^store.*key") as refused:
                config.load()
        assert "too short" not in str(refused.value)
        assert (b"k" * 32).hex() not in str(refused.value)
