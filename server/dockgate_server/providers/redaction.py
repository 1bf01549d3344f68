"""Which parts of requests and answers are secret, and what is left without them.

By the names of members, at any depth: those of fields that the schema marks with `debug_redact`,
and those here, as DJI's requests have no messages in the schema.
"""

import functools
import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor

from dockgate.dji.v1 import method_pb2

_HERE = frozenset(
    {
        # config
        "app_key",
        "app_license",
        # airport_organization_get, airport_organization_bind
        "device_binding_code",
        "device_secret",
        # storage_config_get
        "access_key_id",
        "access_key_secret",
        "security_token",
        # requests that are newer than this list
        "access_token",
        "binding_code",
        "license",
        "password",
        "secret",
        "secret_key",
        "token",
    }
)

_ADDRESS = "url"
"""An address says which file it is; what is secret in it is a signature or a password."""

_SECRET_IN_ADDRESS = re.compile(r"(?<=://)[^/?#@]*@|[?#].*", re.DOTALL)


def without_secrets(value: Any) -> Any:
    """The value without its secret members, and addresses without what gives access."""
    if isinstance(value, list):
        return [without_secrets(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _SECRET_IN_ADDRESS.sub("", one)
        if name == _ADDRESS and isinstance(one, str)
        else without_secrets(one)
        for name, one in value.items()
        if name == _ADDRESS or name not in _secret_names()
    }


@functools.cache
def _secret_names() -> frozenset[str]:
    return _HERE | frozenset(_marked(method_pb2.Method.DESCRIPTOR, set()))


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
