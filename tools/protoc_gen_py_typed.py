"""Protoc plugin that writes an empty ``py.typed`` beside the stubs of every proto package.

Type checkers read the types of an installed package only where such a marker (PEP 561) stands. The
stubs are namespace packages, which other distributions may share, so the marker belongs in the
folder of each package, not at the top.
"""

from __future__ import annotations

import sys
from pathlib import PurePosixPath

from google.protobuf.compiler import plugin_pb2


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Return one marker for each folder that holds a requested file."""
    response = plugin_pb2.CodeGeneratorResponse(
        # Only file names are read, so optional fields make no difference.
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    folders = {PurePosixPath(name).parent for name in request.file_to_generate}
    for folder in sorted(folders):
        response.file.add(name=str(folder / "py.typed"), content="")
    return response


def main() -> None:
    """Speak the plugin protocol of protoc: one request on stdin, one response on stdout."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(request).SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
