"""Minting credentials with boto3: at an STS in this process, and at endpoints that misbehave."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dockgate_server.clock import SystemClock
from dockgate_server.config.providers import ObjectStorage
from dockgate_server.providers import sts
from dockgate_server.providers.sts import CannotMint, Minting, assume_role

boto3 = pytest.importorskip("boto3", reason="the extra sts is not installed")

# botocore and moto use what later versions of Python and of urllib3 warn of.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROLE = "arn:aws:iam::123456789012:role/dock"


def _settings(**changed: Any) -> ObjectStorage:
    values = {
        "bucket": "b",
        "endpoint": "https://s3.example",
        "region": "eu-central-1",
        "access_key_id": "AKIA-hush",
        "access_key_secret": "hush-hush",
        "sts_role_arn": ROLE,
        "credentials_seconds": 1800,
    }
    return ObjectStorage(**(values | changed))


@contextmanager
def _answering(status: int, body: bytes) -> Iterator[str]:
    """An STS that says always the same."""
    seen: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


async def test_credentials_are_those_of_the_role() -> None:
    """From an STS that knows the protocol."""
    moto = pytest.importorskip("moto", reason="it is no part of the extra sts")
    with moto.mock_aws():
        found = await Minting(assume_role(_settings()), SystemClock()).credentials()
    assert found.access_key_id.startswith("ASIA")
    assert len(found.access_key_secret) == 40
    assert len(found.security_token) > 100
    assert found.seconds == 1800


async def test_the_sts_is_the_one_of_the_settings() -> None:
    """As with MinIO, which has its own."""
    answer = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleResult><Credentials><AccessKeyId>id</AccessKeyId>
      <SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
      <Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>
      </AssumeRoleResponse>"""
    with _answering(200, answer) as endpoint:
        mint = assume_role(_settings(sts_endpoint=endpoint))
        found = await asyncio.to_thread(mint)
    assert (found.access_key_id, found.access_key_secret, found.security_token) == (
        "id",
        "secret",
        "token",
    )


async def test_a_no_is_told_by_its_code_alone() -> None:
    """What else an STS says may hold names and keys."""
    answer = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
      <Type>Sender</Type><Code>AccessDenied</Code><Message>AKIA-hush may not</Message></Error>
      </ErrorResponse>"""
    with _answering(403, answer) as endpoint:
        mint = assume_role(_settings(sts_endpoint=endpoint))
        with pytest.raises(CannotMint) as caught:
            await asyncio.to_thread(mint)
    assert str(caught.value) == "the STS answered AccessDenied"


@pytest.mark.parametrize("body", [b"", b"no XML", b"<AssumeRoleResponse/>"])
async def test_nonsense_is_a_failure(body: bytes) -> None:
    """Not credentials without content."""
    with _answering(200, body) as endpoint:
        mint = assume_role(_settings(sts_endpoint=endpoint))
        with pytest.raises(CannotMint):
            await asyncio.to_thread(mint)


async def test_an_sts_that_is_not_there_is_a_failure() -> None:
    """At once."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    mint = assume_role(_settings(sts_endpoint=f"http://127.0.0.1:{port}"))
    with pytest.raises(CannotMint, match="EndpointConnectionError"):
        await asyncio.to_thread(mint)


async def test_an_sts_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the thread does not hang for ever."""
    monkeypatch.setattr(sts, "_READ_SECONDS", 0.1)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        mint = assume_role(_settings(sts_endpoint=endpoint))
        with pytest.raises(CannotMint, match="ReadTimeoutError"):
            await asyncio.to_thread(mint)
