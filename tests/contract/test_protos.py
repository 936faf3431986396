"""The generated protobuf modules: made from the .proto files beside them, and at peace with other packages' own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import REPOSITORY

FOLDER = Path("slipway/contract/protos")
NAMES = sorted(path.stem for path in (REPOSITORY / FOLDER).glob("*.proto"))

SAME_NAMES = """
from google.protobuf import descriptor_pb2, descriptor_pool
from slipway.contract.protos import inference_pb2
theirs = descriptor_pb2.FileDescriptorProto(name="grpc_service.proto", package="inference", syntax="proto3")
theirs.message_type.add(name="ModelInferRequest").field.add(name="else", number=1, type=9, label=1)
found = descriptor_pool.Default().AddSerializedFile(theirs.SerializeToString())
found = found or descriptor_pool.Default().FindFileByName("grpc_service.proto")
assert found.message_types_by_name["ModelInferRequest"].fields_by_name.keys() == ["else"]
assert inference_pb2.ModelInferRequest(id="ours").id == "ours"
"""


@pytest.mark.parametrize("name", NAMES)
def test_module_is_what_its_proto_makes(name: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([*argv, str(FOLDER / f"{name}.proto")], cwd=REPOSITORY, check=True)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        made = (tmp_path / FOLDER / f"{name}{suffix}").read_text()
        if name == "inference":  # as `make protos` does
            made = made.replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()")
        assert (REPOSITORY / FOLDER / f"{name}{suffix}").read_text() == made, "run make protos"


def test_component_may_import_other_protobufs_of_the_v2_protocol() -> None:
    subprocess.run([sys.executable, "-c", SAME_NAMES], cwd=REPOSITORY, check=True)
