"""Certificates that are renewed while connections come, over gRPC and HTTP alike."""

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support import certificates
from support.bridge import ScriptedBridge
from support.certificates import Authority
from support.clock import ManualClock
from support.core import running
from support.log import Log, events
from support.open_api import serving

from dockgate_server.access.keys import Keys
from dockgate_server.config import Grpc
from dockgate_server.errors import CannotListen
from dockgate_server.rpc.health import Health
from dockgate_server.rpc.server import RpcServer
from dockgate_server.tls import Renewed


@dataclass
class Listener:
    """A server with TLS and where its files are."""

    address: str
    authority: Authority
    certificate: Path
    key: Path
    is_well: Callable[[], Awaitable[bool]]

    async def serial_number(self) -> int:
        """That of the certificate which a new connection is shown."""
        return _served(await self._shown())

    async def _shown(self) -> bytes:
        host, port = self.address.split(":")
        trusting = ssl.create_default_context(cafile=self.authority.certificate)
        trusting.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(host, int(port), ssl=trusting)
        shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        await _drop(writer)
        return shown

    def written(self) -> int:
        """The serial number of the certificate in the file."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number


async def _drop(writer: asyncio.StreamWriter) -> None:
    """End a connection without waiting for the other side to say goodbye."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _served(certificate: bytes) -> int:
    return x509.load_der_x509_certificate(certificate).serial_number


@contextlib.asynccontextmanager
async def _grpc(folder: Path, workers: int = 0) -> AsyncIterator[Listener]:
    authority = Authority(folder / "tls")
    certificate, key = authority.issue("server", "127.0.0.1")
    files = {"tls_certificate": certificate, "tls_key": key}
    settings = Grpc(listen="127.0.0.1:0", workers=workers, **files)
    async with running(folder / "dockgate.db", ScriptedBridge()) as core:
        keys = Keys(core.store, folder / "dockgate.db.key", ManualClock())
        server = RpcServer(settings, core.commands, Health(), stop_seconds=1, keys=keys)
        async with server:
            trusting = grpc.ssl_channel_credentials(authority.certificate.read_bytes())

            async def is_well() -> bool:
                # A subchannel pool of its own, so that the connection is a new one.
                options = [("grpc.use_local_subchannel_pool", 1)]
                address = server.address
                async with grpc.aio.secure_channel(address, trusting, options=options) as channel:
                    health: Any = health_pb2_grpc.HealthStub(channel)
                    answer = await health.Check(health_pb2.HealthCheckRequest())
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

            yield Listener(server.address, authority, certificate, key, is_well)


@contextlib.asynccontextmanager
async def _http(folder: Path) -> AsyncIterator[Listener]:
    authority = Authority(folder / "tls")
    certificate, key = authority.issue("server", "127.0.0.1")
    async with serving(folder, tls_certificate=certificate, tls_key=key) as api:

        async def is_well() -> bool:
            trusting = ssl.create_default_context(cafile=authority.certificate)
            url = f"https://{api.server.address}/"
            connector = aiohttp.TCPConnector(force_close=True)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(url, ssl=trusting) as response,
            ):
                return bool((await response.json())["code"] == "NOT_FOUND")

        yield Listener(api.server.address, authority, certificate, key, is_well)


@pytest.fixture(params=[_grpc, _http], ids=["gRPC", "HTTP"])
async def listener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Listener]:
    """Each of the two servers in turn."""
    async with request.param(tmp_path) as listener:
        yield listener


async def test_a_worker_serves_renewed_files_as_well(tmp_path: Path) -> None:
    """TLS ends there."""
    async with _grpc(tmp_path, workers=1) as listener:
        before = await listener.serial_number()
        listener.authority.issue("server", "127.0.0.1")
        assert await listener.serial_number() == listener.written() != before
        assert await listener.is_well()


async def test_renewed_files_are_served_without_a_restart(listener: Listener) -> None:
    """To the next connection; those that are open stay."""
    before = await listener.serial_number()
    assert before == listener.written()

    listener.authority.issue("server", "127.0.0.1")

    assert await listener.serial_number() == listener.written() != before
    assert await listener.is_well()


def _half_a_certificate(listener: Listener, new: Path) -> None:
    pem = new.with_suffix(".pem").read_bytes()
    listener.certificate.write_bytes(pem[: len(pem) // 2])


def _new_certificate_with_the_old_key(listener: Listener, new: Path) -> None:
    shutil.copy(new.with_suffix(".pem"), listener.certificate)


def _new_key_with_the_old_certificate(listener: Listener, new: Path) -> None:
    shutil.copy(new.with_suffix(".key"), listener.key)


def _no_key(listener: Listener, new: Path) -> None:
    listener.key.unlink()


def _empty(listener: Listener, new: Path) -> None:
    listener.certificate.write_bytes(b"")


def _too_weak(listener: Listener, new: Path) -> None:
    certificate, key = certificates.weak()
    listener.certificate.write_bytes(certificate)
    listener.key.write_bytes(key)


@pytest.mark.parametrize(
    "spoil",
    [
        _half_a_certificate,
        _new_certificate_with_the_old_key,
        _new_key_with_the_old_certificate,
        _no_key,
        _empty,
        _too_weak,
    ],
)
async def test_files_that_cannot_be_used_leave_the_old_ones_in_place(
    listener: Listener, spoil: Callable[[Listener, Path], None], log: Log
) -> None:
    """They are said to be so once, and taken as soon as they are whole."""
    before = listener.written()
    new, _ = listener.authority.issue("new", "127.0.0.1")

    spoil(listener, new)

    for _ in range(3):
        assert await listener.serial_number() == before
    assert await listener.is_well()
    assert events(log).count("tls_files_unusable") == 1

    shutil.copy(new.with_suffix(".pem"), listener.certificate)
    shutil.copy(new.with_suffix(".key"), listener.key)
    assert await listener.serial_number() == listener.written() != before
    assert events(log).count("tls_files_renewed") == 1


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_only_tls_of_today_is_spoken(
    listener: Listener, version: ssl.TLSVersion, taken: bool
) -> None:
    """1.2 and 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(listener.authority.certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.minimum_version = context.maximum_version = version
    host, port = listener.address.split(":")
    if not taken:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=context)
        return
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    assert writer.get_extra_info("ssl_object").version() == version.name.replace("v1_", "v1.")
    await _drop(writer)


def _renewed(file: Path) -> Renewed[bytes]:
    return Renewed("a test", [file], file.read_bytes)


def test_a_file_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    """Tools that copy certificates keep their times; written in place or put in place."""
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(b"one")
    renewed, times = _renewed(file), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_bytes(b"two")
    os.utime(file, ns=times)
    assert renewed.current() == b"two"
    other.write_bytes(b"six")
    os.utime(other, ns=times)
    other.replace(file)
    assert renewed.current() == b"six"


def test_a_change_is_given_once(tmp_path: Path) -> None:
    """Whoever asks for changes, as gRPC does for each connection, makes much of each one."""
    file = tmp_path / "file"
    file.write_bytes(b"one")
    renewed = _renewed(file)
    assert renewed.change() is None
    for text in (b"other", b"a third"):
        file.write_bytes(text)
        assert [renewed.change() for _ in range(3)] == [text, None, None]


@pytest.mark.parametrize(
    "has",
    [
        "nothing",
        "another key",
        "a passphrase",
        "an odd key",
        "a certificate for one",
        "a weak key",
        "no client authority",
    ],
)
async def test_files_that_cannot_be_used_at_the_start_are_one_clear_line(
    tmp_path: Path, has: str
) -> None:
    """Which files, and what is wrong with them; nothing is served then."""
    authority = Authority(tmp_path / "tls")
    certificate, key = authority.issue("server", "127.0.0.1")
    files = {"tls_certificate": certificate, "tls_key": key}
    files["tls_client_ca"] = Path(shutil.copy(certificate, tmp_path / "ca.pem"))
    # They may have changed since the configuration was read.
    settings = Grpc(listen="127.0.0.1:0", **files)  # type: ignore[arg-type]
    if has == "nothing":
        certificate.write_text("nothing")
    elif has == "another key":
        shutil.copy(authority.issue("other")[1], key)
    elif has == "a passphrase":
        key.write_bytes(_with_passphrase(key))
    elif has == "an odd key":
        key.write_text(certificates.ODD_KEY)
    elif has == "a certificate for one":
        certificate.write_text(certificates.ODD_CERTIFICATE)
    elif has == "a weak key":
        for file, content in zip((certificate, key), certificates.weak(), strict=True):
            file.write_bytes(content)
    else:
        shutil.copy(key, files["tls_client_ca"])
    why = {
        "nothing": "no certificate that can be read",
        "another key": "does not belong to the certificate",
        "a passphrase": "no private key that can be read",
        "an odd key": "no private key that can be read",
        "a certificate for one": "no key that can be used",
        "a weak key": "cannot be used: ",
        "no client authority": "no certificate that can be read",
    }[has]
    async with running(tmp_path / "dockgate.db", ScriptedBridge()) as core:
        keys = Keys(core.store, tmp_path / "dockgate.db.key", ManualClock())
        server = RpcServer(settings, core.commands, Health(), stop_seconds=0, keys=keys)
        with pytest.raises(CannotListen, match=why) as caught:
            await server.__aenter__()
    assert str(files["tls_certificate"]) in str(caught.value)
    assert "\n" not in str(caught.value)


def _with_passphrase(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(key.read_bytes(), None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
