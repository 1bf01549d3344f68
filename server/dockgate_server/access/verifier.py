"""Checks that a request was signed by the holder of an API key, just now, and for the first time.

The order of the checks is part of the contract: what is cheap and needs no secret comes first,
and a nonce is used up last, so that nobody without the secret can use up another's.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from dockgate_server.access import signature
from dockgate_server.access.keys import Keys
from dockgate_server.access.opening import OpenKey
from dockgate_server.clock import Clock
from dockgate_server.errors import DockgateError, Reason, nonce_replayed
from dockgate_server.limits import Limits, unlimited
from dockgate_server.limits.rate import Rate
from dockgate_server.model.caller import Caller
from dockgate_server.model.transitions import Nonce
from dockgate_server.store.interface import Store

_FORGET_EVERY_SECONDS = 10.0
# On top of the window, for a wall clock that is set back a little.
_NONCE_MARGIN_SECONDS = 60

_API_ID = re.compile(r"[!-~]{1,64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[!-~]{1,128}")

_WANTED = {
    name.lower(): name
    for name in (signature.API_ID, signature.TIMESTAMP, signature.NONCE, signature.SIGNATURE)
}

# What stands in for secrets that are not there. Made anew by every process: nobody knows them.
_NO_SECRETS = (secrets.token_bytes(32), secrets.token_bytes(32))


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """The parts of a request that are signed, as they were sent."""

    method: str
    path: str
    """Percent-encoded, without the query."""
    query: str
    headers: Iterable[tuple[str, str]] = field(repr=False)
    """Every header line, those with the same name too."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proven:
    """A request that was signed by whom it says, if it is not a copy of one."""

    caller: Caller
    nonce: Nonce | None
    """To be used up with what the request does; see :meth:`Verifier.once`."""
    counted: Rate
    """Where it was counted."""


def never(body: bytes) -> bool:
    """Takes nothing for an emergency."""
    return False


class Verifier:
    """Finds out on whose behalf a request is made.

    Args:
        store: Where nonces are used up, for this process and the ones after it.
        keys: The API keys.
        clock: The time.
        skew_seconds: How far a timestamp may be from our clock.
        limits: How many requests each of them may send; as many as there come by default.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        clock: Clock,
        skew_seconds: int,
        limits: Limits | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._skew_seconds = skew_seconds
        self._limits = limits or unlimited()
        self._forget_at = 0.0
        # Copies that come meanwhile would each hold one of the caller's tokens.
        self._under_way: set[tuple[str, str]] = set()

    async def proven(
        self, request: SignedRequest, is_emergency: Callable[[bytes], bool] = never
    ) -> Proven:
        """The caller; the nonce has yet to be used up, by :meth:`once`.

        Args:
            request: The request.
            is_emergency: Whether a body asks for what must get through; only looked at when the
                caller has sent too much.

        Raises:
            DockgateError: UNAUTHORIZED, TIMESTAMP_EXPIRED, SIGNATURE_INVALID, RATE_LIMITED;
                NONCE_REPLAYED for one of which a copy is under way; UNAVAILABLE when the key
                cannot be read.
            SealingProblem: The sealing key has been lost since the start, see ``Keys.check``.
        """
        headers = _headers(request.headers)
        api_id = _required(headers, signature.API_ID, _API_ID, "up to 64 printable characters")
        timestamp = _required(headers, signature.TIMESTAMP, _TIMESTAMP, "Unix seconds")
        given = _required(headers, signature.SIGNATURE, None, "")
        nonce = ""
        # The platform's own GET example carries no nonce; what changes something needs one.
        if request.method != "GET" or signature.NONCE.lower() in headers:
            nonce = _required(headers, signature.NONCE, _NONCE, "1 to 128 printable characters")
        self._check_time(int(timestamp))
        message = signature.canonical_request(
            method=request.method,
            path=request.path,
            query=request.query,
            api_id=api_id,
            timestamp=timestamp,
            nonce=nonce,
            body=request.body,
        )
        key = await self._keys.open(api_id)
        fits = _fits(key, message, given)
        if key is not None and not fits:
            before, key = key, await self._keys.open_anew(api_id)
            fits = key != before and _fits(key, message, given)
        if key is None:
            _unauthorized(signature.API_ID, "is not the ID of an API key that can be used")
        if not fits:
            raise DockgateError(
                Reason.SIGNATURE_INVALID,
                f"{signature.SIGNATURE} does not fit the request; it must be the HMAC-SHA256, in "
                "64 lower-case hex digits, of the eight lines that the documentation lists",
            )
        # Whoever sends too much is refused before anything is written, and may send the same
        # request again.
        if not nonce:
            self._limits.copies.take(key.caller)
            return Proven(key.caller, None, self._limits.copies)
        if (api_id, nonce) in self._under_way:
            raise nonce_replayed()
        counted = self._limits.rate
        try:
            counted.take(key.caller)
        except DockgateError:
            if not is_emergency(request.body):
                raise
            counted = self._limits.emergencies
            counted.take(key.caller)
        # Until then its timestamp is accepted; later the timestamp alone refuses it.
        expires = int(timestamp) + self._skew_seconds + _NONCE_MARGIN_SECONDS
        return Proven(key.caller, Nonce(api_id, nonce, expires * 1000), counted)

    @asynccontextmanager
    async def once(self, proven: Proven) -> AsyncIterator[None]:
        """See to it that what the block does is done for the first copy of a request only.

        To be entered in the same turn of the loop in which the request was proven.

        The block may use the nonce up together with what it does. Where it has not, because it was
        refused for example, that is made up for: else a copy could have more success.

        Raises:
            DockgateError: NONCE_REPLAYED, instead of whatever the block would have answered;
                UNAVAILABLE when the store cannot take the nonce.
        """
        nonce = proven.nonce
        under_way = set() if nonce is None else {(nonce.api_id, nonce.text)}
        self._under_way |= under_way
        try:
            try:
                yield
            except asyncio.CancelledError:
                # The client has gone. If the nonce was on its way with something, this is nothing.
                if nonce is not None:
                    _look_away(self._store.use_nonce(nonce))
                raise
            except BaseException:
                await self._use_up(nonce)
                raise
            await self._use_up(nonce)
        except DockgateError as error:
            if error.reason is Reason.NONCE_REPLAYED:
                # Whoever has sent the copy, the caller has not to pay for it.
                proven.counted.give_back(proven.caller)
            raise
        finally:
            self._under_way -= under_way

    def _check_time(self, timestamp: int) -> None:
        now = self._clock.now_ms()
        if abs(now - timestamp * 1000) > self._skew_seconds * 1000:
            raise DockgateError(
                Reason.TIMESTAMP_EXPIRED,
                f"{signature.TIMESTAMP} is more than {self._skew_seconds} s away from the "
                f"server's clock, which says {now // 1000}",
                metadata={
                    "server_time": str(now // 1000),
                    "allowed_skew_seconds": str(self._skew_seconds),
                },
            )

    async def _use_up(self, nonce: Nonce | None) -> None:
        if nonce is None:
            return
        if not nonce.is_used_up and not await self._store.use_nonce(nonce):
            raise nonce_replayed()
        if self._clock.monotonic() >= self._forget_at:
            self._forget_at = self._clock.monotonic() + _FORGET_EVERY_SECONDS
            # The next one makes up for it if it fails.
            _look_away(self._store.forget_nonces(self._clock.now_ms()))


def _fits(key: OpenKey | None, message: bytes, given: str) -> bool:
    # As many for an ID that is unknown, or has one secret: the time of the comparison tells nothing
    # of either. A wrong key may cost one read of it in a second, which an unknown ID does not.
    tried = (() if key is None else key.secrets) + _NO_SECRETS
    return signature.fits_one_of(tried[: len(_NO_SECRETS)], message, given)


def _look_away(change: "asyncio.Future[Any]") -> None:
    """Nobody waits for it, or wants to know what becomes of it."""
    change.add_done_callback(lambda done: done.cancelled() or done.exception())


def _headers(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The signature's headers by their lower-case names.

    Raises:
        DockgateError: UNAUTHORIZED, for one that is there twice: two readers would not agree.
    """
    found: dict[str, str] = {}
    for line, value in lines:
        name = line.lower()
        if name in _WANTED:
            if name in found:
                _unauthorized(_WANTED[name], "is there more than once")
            found[name] = value
    return found


def _required(headers: dict[str, str], name: str, form: "re.Pattern[str] | None", what: str) -> str:
    value = headers.get(name.lower(), "")
    if not value:
        _unauthorized(name, "is missing")
    if form is not None and not form.fullmatch(value):
        _unauthorized(name, f"must be {what}")
    return value


def _unauthorized(header: str, problem: str) -> NoReturn:
    raise DockgateError(
        Reason.UNAUTHORIZED, f"the header {header} {problem}", metadata={"header": header}
    )
