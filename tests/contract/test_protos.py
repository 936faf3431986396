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
import sys
from google.protobuf import descriptor_pb2, descriptor_pool
from slipway.contract.protos import inference_pb2, prediction_pb2
file, package, message = sys.argv[1:]
theirs = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3")
theirs.message_type.add(name=message).field.add(name="other", number=1, type=9, label=1)
pool = descriptor_pool.Default()
pool.AddSerializedFile(theirs.SerializeToString())
assert pool.FindMessageTypeByName(f"{package}.{message}").fields_by_name.keys() == ["other"]
assert inference_pb2.ModelInferRequest(id="ours").id == "ours"
assert prediction_pb2.DefaultData(tftensor={"dtype": "DT_FLOAT"}).tftensor.dtype == 1
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


@pytest.mark.parametrize(
    "theirs",
    [
        ("grpc_service.proto", "inference", "ModelInferRequest"),  # tritonclient's, KServe's
        ("tensorflow/core/framework/tensor.proto", "tensorflow", "TensorProto"),
    ],
)
def test_component_may_import_other_protobufs_of_the_same_names(theirs: tuple[str, str, str]) -> None:
    subprocess.run([sys.executable, "-c", SAME_NAMES, *theirs], cwd=REPOSITORY, check=True)
