"""A client of the open API that signs, for a gateway that runs whole."""

import time
import uuid
from typing import Any

import aiohttp
import orjson

from dockgate_server.access import signature
from dockgate_server.access.keys import NewKey
from support.gateway import Gateway


class SignedClient:
    """A client that signs."""

    def __init__(self, running: Gateway, key: NewKey, session: aiohttp.ClientSession) -> None:
        self.running = running
        self._key = key
        self._session = session

    async def call(self, method: str, target: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Send a signed request."""
        headers = signature.signed_headers(
            api_id=self._key.key.api_id,
            secret=self._key.secret,
            method=method,
            target=target,
            timestamp=int(time.time()),
            nonce=uuid.uuid4().hex,
            body=body,
        )
        url = f"http://{self.running.app.http_address}{target}"
        headers = {**headers, "Content-Type": "application/json"}
        async with self._session.request(method, url, data=body, headers=headers) as answer:
            return answer.status, orjson.loads(await answer.read())
