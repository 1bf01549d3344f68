"""Protoc plugin that writes the gRPC stubs of Python with their types, ``*_pb2_grpc.py[i]``.

The generator of the stubs is built into ``grpc_tools.protoc``, and buf can only call generators
that are built into protoc itself. This plugin hands the request on: it saves the files that buf has
parsed as a descriptor set, lets ``grpc_tools.protoc`` generate from that into a temporary folder,
and returns what it finds there. The types come from ``protoc-gen-mypy_grpc``, asked for the same
files: left to itself it describes stubs for files that have no service.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

TYPES_PLUGIN = "protoc-gen-mypy_grpc"


class GenerationError(Exception):
    """A generator refused; its own message is on stderr."""


def stubs(request: plugin_pb2.CodeGeneratorRequest) -> Iterator[tuple[str, str]]:
    """Yield name and content of each ``*_pb2_grpc.py``."""
    with tempfile.TemporaryDirectory(prefix="grpc-python-") as folder:
        out = Path(folder, "out")
        out.mkdir()
        descriptors = Path(folder, "descriptors.binpb")
        descriptors.write_bytes(
            descriptor_pb2.FileDescriptorSet(file=request.proto_file).SerializeToString()
        )
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            f"--descriptor_set_in={descriptors}",
            f"--grpc_python_out={out}",
            *request.file_to_generate,
        ]
        # Standard output carries the response, so nothing that protoc says may get into it.
        status = subprocess.run(command, stdout=sys.stderr, check=False).returncode
        if status != 0:
            raise GenerationError(f"grpc_tools.protoc ended with status {status}")
        for path in sorted(out.rglob("*.py")):
            yield path.relative_to(out).as_posix(), path.read_text(encoding="utf-8")


def types(request: plugin_pb2.CodeGeneratorRequest) -> Iterator[tuple[str, str]]:
    """Yield name and content of each ``*_pb2_grpc.pyi``."""
    done = subprocess.run(
        [TYPES_PLUGIN], input=request.SerializeToString(), stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        raise GenerationError(f"{TYPES_PLUGIN} ended with status {done.returncode}")
    response = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    if response.error:
        raise GenerationError(f"{TYPES_PLUGIN}: {response.error}")
    for file in response.file:
        yield file.name, file.content


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Return stubs and types of those requested files that define a service."""
    response = plugin_pb2.CodeGeneratorResponse(
        # Messages are none of this plugin's business, so it need not know how optional fields work.
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    requested = set(request.file_to_generate)
    names = [file.name for file in request.proto_file if file.name in requested and file.service]
    if names:
        request.file_to_generate[:] = names
        for name, content in (*stubs(request), *types(request)):
            response.file.add(name=name, content=content)
    return response


def main() -> None:
    """Speak the plugin protocol of protoc: one request on stdin, one response on stdout."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    try:
        response = generate(request)
    except GenerationError as error:
        response = plugin_pb2.CodeGeneratorResponse(error=str(error))
    sys.stdout.buffer.write(response.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
