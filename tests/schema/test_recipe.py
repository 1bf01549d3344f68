"""The README's recipe: a new method is a message, its arm and a golden file, and nothing else.

Done here in a copy of ``proto/``, for a method that DJI does not have.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from buf.validate import validate_pb2

PROTO = Path(__file__).parents[2] / "proto"
VENDOR = Path("dockgate", "dji", "v1")

MESSAGE = """
// cover_knock: the dock knocks on its cover from inside. Nothing opens.
message CoverKnock {
  option (method_spec) = {
    channel: CHANNEL_SERVICES
    domain: DOMAIN_DEVICE
    devices: [DEVICE_MODEL_DOCK3]
    progress: [
      {
        method: "cover_knock"
        event_key: "bid"
      }
    ]
    page: "dock-to-cloud/mqtt/dock/dock3/cmd.html"
  };

  // Required. How often, 1..9.
  optional int32 times = 1 [
    (buf.validate.field).required = true,
    (buf.validate.field).int32 = {
      gte: 1
      lte: 9
    }
  ];
  // Whether the drone is to knock back. Travels as 0 or 1.
  optional bool answer = 2 [(field_spec).wire_form = WIRE_FORM_BOOL_AS_INT];
}
"""
ARM = """    // The dock knocks on its cover from inside.
    CoverKnock cover_knock = 199;
"""
GOLDEN = {"times": 3, "answer": 1}

CHECK = """
import json, sys
from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.codec import catalogue, dji_json, rules

method = catalogue.find("cover_knock")
request = pb.SubmitCommandRequest(device_id="dock-001", idempotency_key="recipe-001")
golden = json.load(sys.stdin)
json.dump({
    "problems": [str(one) for one in dji_json.from_dict(golden, request.dji.cover_knock)],
    "broken": [one.field for one in rules.violations(request)],
    "sent": dji_json.to_data(request.dji.cover_knock, method.spec.empty_data),
    "progress": [link.command_type for link in catalogue.PROGRESS["cover_knock"]],
    "methods": len(catalogue.METHODS),
}, sys.stdout)
"""


def _write_imports(path: Path) -> None:
    """What the schema imports from elsewhere, as descriptors: the stubs hold them."""
    found = descriptor_pb2.FileDescriptorSet()

    def add(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            add(imported)
        if file.name not in {one.name for one in found.file}:
            file.CopyToProto(found.file.add())

    add(validate_pb2.DESCRIPTOR)
    path.write_bytes(found.SerializeToString())


def _generate(proto: Path, out: Path) -> None:
    """Stubs for Python of every file of the schema."""
    with tempfile.TemporaryDirectory() as folder:
        imports = Path(folder, "imports.binpb")
        _write_imports(imports)
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"--proto_path={proto}", f"--descriptor_set_in={imports}"),
            f"--python_out={out}",
            *sorted(str(file.relative_to(proto)) for file in proto.rglob("*.proto")),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_method_added_by_the_recipe_is_there(tmp_path: Path) -> None:
    """Listed by the catalogue, checked by its rules, and written by the codec as shown."""
    pytest.importorskip("grpc_tools", reason="protoc is not installed")
    proto = shutil.copytree(PROTO, tmp_path / "proto")

    # 1. The message, at the end of its domain's file.
    domain = proto / VENDOR / "device.proto"
    domain.write_text(domain.read_text(encoding="utf-8") + MESSAGE, encoding="utf-8")

    # 2. Its arm, with the next free number of the domain's block.
    arms = proto / VENDOR / "method.proto"
    first = "    // The dock begins to charge the drone inside it.\n"
    before, found, after = arms.read_text(encoding="utf-8").partition(first)
    assert found
    arms.write_text(before + ARM + found + after, encoding="utf-8")

    # 3. make gen.
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    _generate(proto, stubs)

    # 4. The golden file holds.
    environment = {**os.environ, "PYTHONPATH": str(stubs)}
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        input=json.dumps(GOLDEN),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("methods") > 187
    assert said == {"problems": [], "broken": [], "sent": GOLDEN, "progress": ["cover_knock"]}
