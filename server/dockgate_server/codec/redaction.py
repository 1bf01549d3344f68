"""Which parts of commands, answers, events and requests are secret, and what is left without them.

By the names of members, at any depth: those of fields that the schema marks with `debug_redact`,
those here, as DJI's requests have no messages in the schema, and whatever is named like a secret,
as nobody has marked what the schema does not have.
"""

import enum
import functools
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from dockgate.dji.v1 import event_pb2, method_pb2, reply_pb2
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
    r"pass(?:word|wd|phrase)|secret|token|credential|licen[cs]e|authori[sz]ation|psk"
    r"|auth(?![a-z_])|api_?key|access_?key|app_?key|private_?key"
)
"""What is secret where the schema does not say otherwise: rather too much than too little. For what
is in lower case; and each alternative begins with a letter, which makes searches ten times as
quick."""

_ADDRESS = re.compile(r"(?:\w+_)?urls?")
"""The names of addresses. Of a file's address nothing is secret but what gives access to it."""

_FILE = re.compile(r"(?!\w+:|[^/?#]*=)|https?://", re.IGNORECASE)
"""What an address of a file begins with: a path, or HTTP. In all others, those of streams, the path
or the whole is what gives access ("rtmp://host/live/KEY", "channel=…&token=…")."""

_SECRET_IN_ADDRESS = re.compile(r"(?<=://)[^/?#@]*@|[?#].*", re.DOTALL)


class _Kind(enum.Enum):
    """What a member is, by its name."""

    PLAIN = enum.auto()
    SECRET = enum.auto()
    ADDRESS = enum.auto()


_PLAIN, _SECRET, _IS_ADDRESS = _Kind.PLAIN, _Kind.SECRET, _Kind.ADDRESS

_GONE = object()

_NESTED = (dict, list)

_NAMES_KEPT = 4096
_LONGEST_NAME_KEPT = 64


class _Kinds(dict[str, _Kind]):
    """What members are by their names, each judged once.

    A device may make up names: so many are kept, and no long ones.
    """

    def __init__(self, judge: Callable[[str], _Kind]) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, name: str) -> _Kind:
        kind = self._judge(name)
        if len(self) < _NAMES_KEPT and len(name) <= _LONGEST_NAME_KEPT:
            self[name] = kind
        return kind


def without_secrets(value: Any, *, known: bool = True) -> Any:
    """The value without its secret members, and addresses without what gives access.

    An address of a stream is secret as a whole, and left out.

    Args:
        value: The `data` of a message, or all of it.
        known: Whether the schema has what the message is about; then it also says which members
            are no secret, though they are named like one.

    Returns:
        The same object where nothing is secret.
    """
    kinds = _IF_KNOWN if known else _IF_UNKNOWN
    # Mostly nothing is; to see that takes half of the time.
    return value if _is_plain(value, kinds) else _without(value, kinds, _GONE)


def may_hold_secrets(raw: bytes) -> bool:
    """Whether there is the name of a secret member in a message, be it readable JSON or not."""
    return _telltale().search(raw.lower()) is not None


def to_keep(command_type: str, values: Any) -> Any:
    """What of a command's `data` may be kept as it is; the values themselves if they are no secret.

    In the place of secrets stands null: their names still say what the command was about.

    Args:
        command_type: The method. For one that the schema has its marks alone decide.
        values: The `data`, before it is written as JSON.
    """
    method = catalogue.METHODS.get(command_type)
    if method is None:
        return _without(values, _IF_UNKNOWN, None)
    return (
        _without(values, _marks_of(method.descriptor), None) if has_marks(command_type) else values
    )


def has_marks(command_type: str) -> bool:
    """Whether a method that the schema has has fields that it marks."""
    return bool(_names_of(catalogue.METHODS[command_type].descriptor))


def _is_plain(value: Any, kinds: _Kinds) -> bool:
    if isinstance(value, dict):
        for name, one in value.items():
            if kinds[name] is not _PLAIN:
                return False
            if isinstance(one, _NESTED) and not _is_plain(one, kinds):
                return False
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, _NESTED) and not _is_plain(one, kinds):
                return False
    return True


def _without(value: Any, kinds: _Kinds, instead: object) -> Any:
    """The value with something else in the place of secrets; the same object if there is none.

    Args:
        value: Any JSON.
        kinds: What members are.
        instead: What stands in the place of a secret; ``_GONE`` leaves it out.
    """
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for name, one in value.items():
            kind = kinds[name]
            if kind is _PLAIN:
                kept = _without(one, kinds, instead) if isinstance(one, _NESTED) else one
            elif kind is _SECRET:
                kept = instead
            else:
                kept = _address(one, kinds, instead)
            if kept is not _GONE:
                members[name] = kept
        same = all(members.get(name, _GONE) is one for name, one in value.items())
        return value if same else members
    if isinstance(value, list):
        return _list(value, [_without(one, kinds, instead) for one in value])
    return value


def _address(value: Any, kinds: _Kinds, instead: object) -> Any:
    if isinstance(value, str):
        if not _FILE.match(value):
            return instead
        return _SECRET_IN_ADDRESS.sub("", value) if _SECRET_IN_ADDRESS.search(value) else value
    if isinstance(value, list):
        return _list(value, [_address(one, kinds, instead) for one in value])
    return _without(value, kinds, instead)


def _list(value: list[Any], parts: list[Any]) -> list[Any]:
    if all(map(operator.is_, parts, value)):
        return value
    return [one for one in parts if one is not _GONE]


def _of_known(name: str) -> _Kind:
    return _PLAIN if name in _plain_names() else _of_unknown(name)


def _of_unknown(name: str) -> _Kind:
    if _ADDRESS.fullmatch(name):
        return _IS_ADDRESS
    return _SECRET if name in _secret_names() or _LIKE_A_SECRET.search(name.lower()) else _PLAIN


_IF_KNOWN, _IF_UNKNOWN = _Kinds(_of_known), _Kinds(_of_unknown)


@functools.cache
def _secret_names() -> frozenset[str]:
    return _HERE | _names_of(method_pb2.Method.DESCRIPTOR)


@functools.cache
def _plain_names() -> frozenset[str]:
    """The names that fields of the schema have and that are a secret nowhere."""
    schema = (method_pb2.Method, reply_pb2.Reply, event_pb2.Event)
    found = {field.name for one in schema for field in _fields(one.DESCRIPTOR, set())}
    return frozenset(n for n in found if n not in _secret_names() and not _ADDRESS.fullmatch(n))


@functools.cache
def _names_of(descriptor: Descriptor) -> frozenset[str]:
    """The names of fields that the schema marks, in a message and all below it."""
    marked = (one for one in _fields(descriptor, set()) if one.GetOptions().debug_redact)
    return frozenset(field.name for field in marked)


@functools.cache
def _marks_of(descriptor: Descriptor) -> _Kinds:
    marked = _names_of(descriptor)
    return _Kinds(lambda name: _SECRET if name in marked else _PLAIN)


@functools.cache
def _telltale() -> re.Pattern[bytes]:
    """What a message with a secret has somewhere in it."""
    names = [re.escape(name.lower()) for name in sorted(_secret_names())]
    # An escape could hide a name.
    found = "|".join((_LIKE_A_SECRET.pattern, "url", *names, r"\\u"))
    return re.compile(found.encode())


def _fields(descriptor: Descriptor, seen: set[str]) -> Iterable[FieldDescriptor]:
    """The fields of a message and of all below it."""
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        yield field
        if field.message_type is not None:
            yield from _fields(field.message_type, seen)
