"""Finds out on whose behalf a gRPC call is made: by an API key or a client certificate's name."""

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NoReturn

from dockgate_server.access.keys import Keys
from dockgate_server.access.opening import OpenKey
from dockgate_server.errors import DockgateError, Reason
from dockgate_server.model.caller import LOCAL, Caller

AUTHORIZATION = "authorization"
"""The metadata that carries an API key."""

_METADATA = f"the metadata {AUTHORIZATION}"
_FORM = "Bearer <api id>.<api key>"
_BEARER = re.compile(r"Bearer +([!-\-/-~]{1,64})\.([!-~]{1,256})", re.IGNORECASE)

# Its secret is made anew by every process, so nobody knows it, and is as long as a real one.
_NOBODY = OpenKey(Caller("", ""), (secrets.token_bytes(47),))


@dataclass(frozen=True, slots=True)
class Shown:
    """What a call shows of who makes it."""

    authorization: tuple[str, ...] = field(default=(), repr=False)
    """Every value of the metadata ``authorization``."""
    certificate_names: tuple[str, ...] = ()
    """The names in the client's certificate, which TLS has verified."""

    @property
    def claimed(self) -> str:
        """The API ID that it calls itself, which proves nothing; "" for none."""
        found = _BEARER.fullmatch(self.authorization[0]) if len(self.authorization) == 1 else None
        return found[1] if found else ""


WhoAsks = Callable[[Shown], Awaitable[Caller]]
"""Gives the caller, or raises a DockgateError UNAUTHORIZED."""


async def local(shown: Shown) -> Caller:
    """Whoever calls over loopback without TLS: everybody on this machine may do all.

    Raises:
        DockgateError: UNAUTHORIZED, for credentials: they are gone already, and a caller who
            believes to be somebody must not be taken for somebody else.
    """
    if shown.authorization:
        _refuse("credentials are taken over TLS only, and this connection is not encrypted")
    return LOCAL


class Bearers:
    """Who asks over TLS.

    An API key decides, where there is one; else the certificate's name does. When both stand for
    somebody, both must be of one tenant: a key that was carried off is of no use to another one.

    Args:
        keys: The API keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def who_asks(self, shown: Shown) -> Caller:
        """The caller.

        Raises:
            DockgateError: UNAUTHORIZED, with the same text whether the API ID is unknown or
                disabled or the key is wrong.
            SealingProblem: The sealing key has been lost since the start, see ``Keys.check``.
        """
        certified = await self._certified(shown.certificate_names)
        if not shown.authorization:
            if certified is not None:
                return certified
            _refuse(f"{_METADATA} is missing: {_FORM}; {_instead(shown)}")
        if len(shown.authorization) > 1:
            _refuse(f"{_METADATA} is there more than once")
        found = _BEARER.fullmatch(shown.authorization[0])
        if found is None:
            _refuse(f"{_METADATA} must be {_FORM}")
        caller = await self._bearer(found[1], found[2].encode())
        if certified is not None and certified.tenant != caller.tenant:
            _refuse(f"{_METADATA} and the client certificate are of different tenants")
        return caller

    async def _bearer(self, api_id: str, given: bytes) -> Caller:
        key = await self._keys.open(api_id)
        # For an unknown ID too, so that the time of the comparison tells nothing. A wrong key may
        # cost one read of it in a second, which an unknown ID does not.
        fits = (key or _NOBODY).holds(given)
        if key is not None and not fits:
            before, key = key, await self._keys.open_anew(api_id)
            fits = key is not None and key != before and key.holds(given)
        if key is None or not fits:
            _refuse(f"{_METADATA} has not the ID and the secret of an API key that can be used")
        return key.caller

    async def _certified(self, names: tuple[str, ...]) -> Caller | None:
        for name in names:
            if (key := await self._keys.open_by_certificate(name)) is not None:
                return key.caller
        return None


def _instead(shown: Shown) -> str:
    """What would do in place of an API key."""
    if shown.certificate_names:
        return "the client certificate's name stands for no API key that can be used"
    return "or a client certificate, where the server asks for one"


def _refuse(why: str) -> NoReturn:
    raise DockgateError(Reason.UNAUTHORIZED, why, metadata={"header": AUTHORIZATION})
