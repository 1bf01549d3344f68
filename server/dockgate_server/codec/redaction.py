"""Which parts of commands, answers, events and requests are secret, and what is left without them.

By the names of members, at any depth: those of fields that the schema marks with `debug_redact`,
and those here, as DJI's requests have no messages in the schema.
"""

import functools
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor

from dockgate.dji.v1 import method_pb2
from dockgate_server.codec import catalogue

_HERE = frozenset(
    {
        # config
        "app_key",
        "app_license",
        # airport_organization_get, airport_organization_bind, update_topo
        "device_binding_code",
        "device_secret",
        # storage_config_get
        "access_key_id",
        "access_key_secret",
        "security_token",
        # methods and requests that are newer than this list
        "access_token",
        "binding_code",
        "license",
        "passwd",
        "password",
        "secret",
        "secret_key",
        "token",
    }
)

_LIKE_A_SECRET = re.compile(
    r"pass(?:word|wd|phrase)|secret|token|credential|licen[cs]e|authori[sz]ation|psk|^auth$"
    r"|(?:api|access|app|private)_?key",
    re.IGNORECASE,
)
"""What is secret in a method that the schema does not have, as nobody has marked its fields: rather
too much than too little, as it is sealed until the command has ended and not taken away."""

_ADDRESS = re.compile(r"(?:\w+_)?url")
"""The names of addresses. Of a file's address nothing is secret but what gives access to it."""

_FILE = re.compile(r"(?!\w+:|[^/?#]*=)|https?://", re.IGNORECASE)
"""What an address of a file begins with: a path, or HTTP. In all others, those of streams, the path
or the whole is what gives access ("rtmp://host/live/KEY", "channel=…&token=…")."""

_SECRET_IN_ADDRESS = re.compile(r"(?<=://)[^/?#@]*@|[?#].*", re.DOTALL)


def without_secrets(value: Any) -> Any:
    """The value without its secret members, and addresses without what gives access.

    An address of a stream is secret as a whole, and left out.
    """
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    if not isinstance(value, dict):
        return value
    members = {}
    for name, one in value.items():
        is_address = _ADDRESS.fullmatch(name) is not None
        if is_address and isinstance(one, str):
            if _FILE.match(one):
                members[name] = _SECRET_IN_ADDRESS.sub("", one)
        elif is_address or name not in _secret_names():
            members[name] = without_secrets(one)
    return members


def shown(data: Any, raw: bytes) -> Any:
    """What may be shown of the `data` of a message, at almost no cost for one without secrets.

    Args:
        data: The parsed member.
        raw: JSON in which it stands.
    """
    return without_secrets(data) if may_hold_secrets(raw) else data


def may_hold_secrets(raw: bytes) -> bool:
    """Whether there is the name of a secret member in a message, be it readable JSON or not."""
    return _telltale().search(raw) is not None


def to_keep(command_type: str, values: Any) -> Any:
    """What of a command's `data` may be kept as it is; the values themselves if they are no secret.

    In the place of secrets stands null: their names still say what the command was about.

    Args:
        command_type: The method. For one that the schema has its marks alone decide.
        values: The `data`, before it is written as JSON.
    """
    method = catalogue.METHODS.get(command_type)
    if method is None:
        known = _secret_names()
        return _blanked(
            values,
            lambda name: name in known or _LIKE_A_SECRET.search(name) is not None,
            addresses=True,
        )
    names = _names_of(method.descriptor)
    return _blanked(values, names.__contains__, addresses=False) if names else values


def has_marks(command_type: str) -> bool:
    """Whether a method that the schema has has fields that it marks."""
    return bool(_names_of(catalogue.METHODS[command_type].descriptor))


def _blanked(value: Any, is_secret: Callable[[str], bool], *, addresses: bool) -> Any:
    """The value with null for each secret; the same object where there is none."""
    if isinstance(value, list):
        parts = [_blanked(one, is_secret, addresses=addresses) for one in value]
        return parts if any(map(operator.is_not, parts, value)) else value
    if not isinstance(value, dict):
        return value
    members = {}
    for name, one in value.items():
        if addresses and _ADDRESS.fullmatch(name):
            shown = without_secrets({name: one}).get(name)
            members[name] = one if shown == one else shown
        elif is_secret(name):
            members[name] = None
        else:
            members[name] = _blanked(one, is_secret, addresses=addresses)
    return members if any(members[name] is not one for name, one in value.items()) else value


@functools.cache
def _secret_names() -> frozenset[str]:
    return _HERE | _names_of(method_pb2.Method.DESCRIPTOR)


@functools.cache
def _names_of(descriptor: Descriptor) -> frozenset[str]:
    return frozenset(_marked(descriptor, set()))


@functools.cache
def _telltale() -> re.Pattern[bytes]:
    """What a message with a secret has somewhere in it. One pattern takes half of many searches."""
    names = _secret_names()
    shortest = [one for one in sorted(names) if not any(o in one for o in names - {one})]
    # An escape could hide a name.
    return re.compile("|".join(map(re.escape, (*shortest, "\\u"))).encode())


def _marked(descriptor: Descriptor, seen: set[str]) -> Iterable[str]:
    """The names of fields that the schema marks, in a message and all below it."""
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        if field.GetOptions().debug_redact:
            yield field.name
        if field.message_type is not None:
            yield from _marked(field.message_type, seen)
