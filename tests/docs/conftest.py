"""The documents as they are committed, and what the stubs say about each method."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from dockgate.dji.v1 import event_pb2
from dockgate.downlink.v1 import device_request_service_pb2
from dockgate_server import docs
from dockgate_server.docs.schema import Schema

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "methods"
EVENT_PAGES = ROOT / "docs" / "events"

_ROW = re.compile(r"\| `([^`]+)` \| ([^|]*) \| (yes|) \| ((?:\\\||[^|])*) \| .* \|")


@dataclass(frozen=True)
class Row:
    """A field as a page shows it."""

    type: str
    required: bool
    range: str


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    """The OpenAPI document, as it is packaged."""
    document: dict[str, Any] = orjson.loads(docs.openapi_json())
    return document


@pytest.fixture(scope="session")
def schema() -> Schema:
    """The schema of the stubs, which is without comments."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            add(imported)
        files[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)

    add(device_request_service_pb2.DESCRIPTOR)
    add(event_pb2.DESCRIPTOR)
    whole = descriptor_pb2.FileDescriptorSet(file=files.values())
    return Schema(whole.SerializeToString())


@pytest.fixture(scope="session")
def sections() -> dict[str, str]:
    """The part of a page that is about a method, by method."""
    return _sections(PAGES)


@pytest.fixture(scope="session")
def event_sections() -> dict[str, str]:
    """The part of a page that is about an event, by event."""
    return _sections(EVENT_PAGES)


def _sections(folder: Path) -> dict[str, str]:
    found = {}
    for page in sorted(folder.glob("*.md")):
        if page.name != "README.md":
            for section in page.read_text(encoding="utf-8").split("\n## ")[1:]:
                name, _, text = section.partition("\n")
                found[name] = text
    return found


@pytest.fixture(scope="session")
def rows(sections: dict[str, str]) -> dict[str, dict[str, Row]]:
    """The fields of each method as its page shows them, by path."""
    return {
        name: {
            path: Row(kind, required == "yes", said)
            for path, kind, required, said in _ROW.findall(text)
        }
        for name, text in sections.items()
    }
