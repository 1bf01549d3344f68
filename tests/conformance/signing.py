"""Signs what schemathesis sends; it loads this module by its name in SCHEMATHESIS_HOOKS.

Whatever a case has made up for the headers of the signature, what is sent is signed as it is sent:
so refusals are about the request and not about who sends it. Most cases get ids that there are,
which nobody makes up, so that they come further. A part is left as it was made up, and a part
unsigned, so that these are answered as described as well.
"""

import itertools
import os
import time
import uuid
from typing import Any

import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase

from dockgate_server.access import signature

_UNSIGNED_EVERY = 10
_AS_MADE_UP_EVERY = 4
_KNOWN = {
    "commandId": os.environ["KNOWN_COMMAND"],
    "requestId": os.environ["KNOWN_REQUEST"],
    "commandType": "takeoff_to_point",
}
_HEADERS = (signature.API_ID, signature.TIMESTAMP, signature.NONCE, signature.SIGNATURE)


class Signed(AuthBase):
    """Signs a request as it is about to be sent."""

    def __init__(self, api_id: str, secret: str) -> None:
        self._api_id = api_id
        self._secret = secret
        self._sent = itertools.count(1)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if next(self._sent) % _UNSIGNED_EVERY == 0:
            return request
        body = request.body or b""
        for name in _HEADERS:
            request.headers.pop(name, None)
        request.headers.update(
            signature.signed_headers(
                api_id=self._api_id,
                secret=self._secret,
                method=request.method or "GET",
                target=request.path_url,
                timestamp=int(time.time()),
                nonce=uuid.uuid4().hex,
                body=body if isinstance(body, bytes) else str(body).encode(),
            )
        )
        return request


_calls = itertools.count(1)


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, **__: Any) -> None:
    """Most calls are about what there is, and most submissions are new ones."""
    number = next(_calls)
    if number % _AS_MADE_UP_EVERY == 0:
        return
    body = case.body
    if isinstance(body, dict):
        known = {"device_id": "drone-001", "idempotency_key": f"key-{number}"}
        case.body = {
            name: known.get(name, value) if isinstance(value, str) else value
            for name, value in body.items()
        }
    case.path_parameters = {
        name: _KNOWN.get(name, value) for name, value in (case.path_parameters or {}).items()
    }


schemathesis.auth.set_from_requests(Signed(os.environ["API_ID"], os.environ["API_KEY"]))
