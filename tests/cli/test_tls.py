"""The command line against a server with TLS: what it sends, and what it says when that fails."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cli.scripted import Called, Run, Script
from support.certificates import Authority
from support.secured import Secured

from dockgate_server.access.keys import NewKey


def be(key: NewKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an API key into the environment."""
    monkeypatch.setenv("DOCKGATE_API_ID", key.key.api_id)
    monkeypatch.setenv("DOCKGATE_API_KEY", key.secret)


async def call(run: Run, server: Secured, *options: object, address: str = "") -> Called:
    """Call the command line from a thread, as the server lives in this one."""
    address = address or server.server.address
    arguments = ("list", "--server", address, *(str(one) for one in options))
    called = await asyncio.to_thread(run, *arguments)
    # Without the server's log, which goes the same way.
    lines = called.err.splitlines(keepends=True)
    return replace(called, err="".join(line for line in lines if "grpc_refused" not in line))


async def test_an_api_key_from_the_environment_is_sent(
    run: Run, tls: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the server knows who calls."""
    key = await tls.keys.create("test")
    be(key, monkeypatch)
    called = await call(run, tls, "--tls-ca", tls.authority.certificate)
    assert called.code == 0, called.err
    assert tls.taken[0].principal == key.key.api_id


async def test_a_client_certificate_is_shown(run: Run, mutual: Secured) -> None:
    """Mutual TLS needs no key."""
    key = await mutual.keys.create("test", client_certificate="client")
    certificate, private = mutual.authority.issue("client")
    options = ("--tls-cert", certificate, "--tls-key", private)
    called = await call(run, mutual, "--tls-ca", mutual.authority.certificate, *options)
    assert called.code == 0, called.err
    assert mutual.taken[0].principal == key.key.api_id


async def test_without_credentials_it_says_where_they_come_from(run: Run, tls: Secured) -> None:
    """The server cannot know that."""
    called = await call(run, tls, "--tls-ca", tls.authority.certificate)
    assert called.code == 1
    assert called.err.count("\n") == 1
    assert "DOCKGATE_API_ID and DOCKGATE_API_KEY" in called.err


async def test_a_wrong_key_is_one_line_without_the_key(
    run: Run, tls: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors are pasted into tickets."""
    key = await tls.keys.create("test")
    be(key, monkeypatch)
    monkeypatch.setenv("DOCKGATE_API_KEY", key.secret[:-1])
    called = await call(run, tls, "--tls-ca", tls.authority.certificate)
    assert called.code == 1
    assert called.err.count("\n") == 1
    assert key.secret[:-1] not in called.err


async def test_a_wrong_authority_is_said(run: Run, tls: Secured, tmp_path: Path) -> None:
    """Somebody else may answer there."""
    called = await call(run, tls, "--tls-ca", Authority(tmp_path / "other").certificate)
    assert called.code == 1
    assert called.err.startswith("error: the authorities in --tls-ca do not vouch for 127.0.0.1:")
    assert called.err.count("\n") == 1


async def test_a_wrong_host_name_is_said(run: Run, tls: Secured) -> None:
    """The certificate is for 127.0.0.1, not for any name that leads there."""
    address = tls.server.address.replace("127.0.0.1", "localhost")
    called = await call(run, tls, "--tls-ca", tls.authority.certificate, address=address)
    assert called.code == 1
    assert called.err == (
        f"error: the certificate of {address} is for another host; use a name that it has\n"
    )


@pytest.mark.parametrize("with_ca", [True, False])
async def test_a_server_that_closes_the_connection_may_want_more(
    run: Run, mutual: Secured, with_ca: bool
) -> None:
    """TLS, or a certificate; gRPC's core does not say which."""
    options = ("--tls-ca", mutual.authority.certificate) if with_ca else ()
    called = await call(run, mutual, *options)
    assert called.code == 1
    assert called.err.count("\n") == 1
    assert "--tls-cert and --tls-key" in called.err


def test_a_key_is_not_sent_without_tls(
    run: Run, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody on the way could read it."""
    monkeypatch.setenv("DOCKGATE_API_ID", "dk_1")
    monkeypatch.setenv("DOCKGATE_API_KEY", "dks_secret")
    called = run("list")
    assert called.code == 2
    assert "--tls-ca" in called.err
    assert script.requests == []


@pytest.mark.parametrize("name", ["DOCKGATE_API_ID", "DOCKGATE_API_KEY"])
def test_half_a_credential_is_a_wrong_call(
    run: Run, script: Script, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A typing error in a variable's name would make somebody nobody."""
    monkeypatch.setenv(name, "dk_1")
    called = run("list")
    assert (called.code, script.requests) == (2, [])
    assert "must be set together" in called.err


@pytest.mark.parametrize(
    "content", ["nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_a_certificate_is_named(run: Run, tmp_path: Path, content: str) -> None:
    """GRPC's core would only say that there is no connection."""
    file = tmp_path / "ca.pem"
    file.write_text(content)
    called = run("list", "--tls-ca", str(file))
    assert called.code == 1
    assert called.err.startswith(f"error: {file} has no certificate that can be read")
    assert called.err.count("\n") == 1


def test_a_key_of_another_certificate_is_said(run: Run, tmp_path: Path) -> None:
    """Both files are named; so is one that has no key."""
    authority = Authority(tmp_path / "one")
    certificate, _ = authority.issue("client")
    _, other = Authority(tmp_path / "two").issue("client")
    options = ("--tls-ca", str(authority.certificate), "--tls-cert", str(certificate))
    called = run("list", *options, "--tls-key", str(other))
    wrong = f"error: the key in {other} does not belong to the certificate in {certificate}\n"
    assert (called.code, called.err) == (1, wrong)
    called = run("list", *options, "--tls-key", str(certificate))
    assert called.err.startswith(f"error: {certificate} has no private key that can be read")


def test_a_server_without_tls_is_said_to_be_one(run: Run, script: Script, tmp_path: Path) -> None:
    """With what is to be left out."""
    called = run("list", "--tls-ca", str(Authority(tmp_path).certificate))
    said = f"error: {script.address} speaks no TLS; leave out --tls-ca\n"
    assert (called.code, called.err) == (1, said)


def test_a_certificate_needs_its_key(run: Run, tmp_path: Path) -> None:
    """And the other way round."""
    certificate, key = Authority(tmp_path).issue("client")
    for option, file in (("--tls-cert", certificate), ("--tls-key", key)):
        called = run("list", option, str(file))
        assert called.code == 2
        assert "must be given together" in called.err


def test_nothing_is_sent_that_was_not_asked_for(run: Run, script: Script) -> None:
    """On this machine everybody is everybody."""
    from dockgate.downlink.v1 import command_service_pb2 as pb

    script.answers["list"] = [pb.ListCommandsResponse()]
    assert run("list").code == 0
    assert "authorization" not in script.metadata[0]


ODD = """\
-----BEGIN CERTIFICATE-----
MIIBHzCB0qADAgECAgEAMAUGAytlcDAOMQwwCgYDVQQDDANvZGQwIBcNMjYxMTIx
MDMwMjA4WhgPMjEyNjEwMjgwMzAyMDhaMA4xDDAKBgNVBAMMA29kZDAqMAUGAytl
cAMhAKNQrheuI/ihnuptZFbNrqOuzqwM34eWpEFLmQ8PwKzro1MwUTAdBgNVHQ4E
FgQUyj1bkYWV26tA9GBJRh09gAD789YwHwYDVR0jBBgwFoAUyj1bkYWV26tA9GBJ
Rh09gAD789YwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXADQQAm8Z0bdcFiZcbICkKq
E0MpnrJb5Mf/JgKOynBksECMALHJ+JKTT5QhZUjJtnMdxRoFPsvfQrve1b3xppD7
m+MN
-----END CERTIFICATE-----
"""
"""Its serial number is 0, as that of some authorities whom systems trust."""


async def test_an_authority_may_be_odd(run: Run, tls: Secured, tmp_path: Path) -> None:
    """OpenSSL takes it; so nobody is warned."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# Autorité\n{ODD}{tls.authority.certificate.read_text()}")
    called = await call(run, tls, "--tls-ca", bundle)
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert "DOCKGATE_API_ID and DOCKGATE_API_KEY" in called.err


async def test_certificates_and_keys_may_be_pipes(run: Run, mutual: Secured) -> None:
    """So that a key needs to be in no file: each is read once."""
    key = await mutual.keys.create("test", client_certificate="client")
    files = (mutual.authority.certificate, *mutual.authority.issue("client"))
    with ExitStack() as stack:
        ca, certificate, private = (stack.enter_context(_pipe(file)) for file in files)
        options = ("--tls-ca", ca, "--tls-cert", certificate, "--tls-key", private)
        called = await call(run, mutual, *options)
    assert called.code == 0, called.err
    assert mutual.taken[0].principal == key.key.api_id


@contextmanager
def _pipe(file: Path) -> Iterator[str]:
    """What a shell makes of ``<(cat file)``."""
    reading, writing = os.pipe()
    os.write(writing, file.read_bytes())
    os.close(writing)
    yield f"/dev/fd/{reading}"
    os.close(reading)
