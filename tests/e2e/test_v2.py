"""The V2 protocol through the gateway: the photo line as V2 tensors, and the protocol's own clients."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from scripts.demo import photo
from slipway.contract.protos import inference_pb2 as v2
from slipway.serving.v2_json import V2Body, parse_infer_response, render_infer_request
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_proto import parse_infer_response_proto, render_infer_request_proto
from slipway.serving.v2_tensors import Tensor, objects
from tests.e2e.graphs import chain
from tests.e2e.platform import Platform
from tests.e2e.test_wire_forms import CALL_TIMEOUT_S, PHOTO, assert_same_boxes, deployed, expected
from tests.executor.test_v2_clients import assert_right, told

PHOTOS, ECHO = "photos-v2", "echo-v2"
INFER = "/inference.GRPCInferenceService/ModelInfer"
SIZE = "Inference-Header-Content-Length"
ECHO_CLASS = """
class Echo:
    def predict(self, X, names=None, meta=None):
        return X
"""


@pytest.fixture(scope="module")
def photos(platform: Platform) -> Iterator[str]:
    """The demo's two components in a SeldonDeployment of protocol v2."""
    manifest = chain(PHOTOS, "models:/shapes/2", size="192x192")
    manifest["spec"]["protocol"] = "v2"
    yield from deployed(platform, manifest)


def base(platform: Platform, name: str) -> str:
    return f"http://{platform.gateway}/seldon/default/{name}"


def over_rest(platform: Platform, name: str, request: InferRequest, *, path: str = "/v2/models/infer") -> Any:
    """Status, headers, and the answer: parsed where it is 200."""
    body = render_infer_request(request, binary=lambda _: True)
    headers = {"Content-Type": "application/octet-stream", SIZE: str(body.json_bytes)}
    asked = urllib.request.Request(base(platform, name) + path, data=body.body, headers=headers)
    try:
        answer = urllib.request.urlopen(asked, timeout=CALL_TIMEOUT_S)
    except urllib.error.HTTPError as refused:
        return refused.status, refused.headers, json.load(refused)
    with answer:
        size = answer.headers.get(SIZE)
        return 200, answer.headers, parse_infer_response(V2Body(answer.read(), int(size) if size else None))


def over_grpc(platform: Platform, name: str, request: InferRequest) -> InferResponse:
    raw = render_infer_request_proto(request).SerializeToString()
    metadata = (("seldon", name), ("namespace", "default"))
    with grpc.insecure_channel(platform.gateway) as channel:
        answer = channel.unary_unary(INFER)(raw, metadata=metadata, timeout=CALL_TIMEOUT_S)
    return parse_infer_response_proto(v2.ModelInferResponse.FromString(answer))


def photo_request(sent: bytes) -> InferRequest:
    return InferRequest((Tensor("photo", "BYTES", objects([sent], [1])),), id="mine-1")


def assert_boxes(answer: InferResponse) -> None:
    (output,) = answer.outputs
    assert (output.datatype, output.parameters["content_type"], answer.id) == ("BYTES", "json", "mine-1")
    found = json.loads(output.array[0])
    assert found["image"] == {"width": 256, "height": 192}
    assert_same_boxes(found["detections"], expected("2"))


def test_photo_as_a_tensor_gives_the_boxes(platform: Platform, photos: str) -> None:
    for path in ("/v2/models/infer", "/v2/models/image-transformer/infer"):
        status, headers, answer = over_rest(platform, photos, photo_request(photo(PHOTO)), path=path)
        assert status == 200, answer
        assert_boxes(answer)
        assert headers["x-slipway-model"].startswith("shapes/2 sha256:")
    assert_boxes(over_grpc(platform, photos, photo_request(photo(PHOTO))))


def test_broken_photo_is_refused_in_the_protocol_s_form(platform: Platform, photos: str) -> None:
    broken = photo_request(photo(PHOTO)[:-500])
    status, headers, answer = over_rest(platform, photos, broken)
    assert (status, headers["x-slipway-reason"], list(answer)) == (400, "IMAGE_UNDECODABLE", ["error"])
    with pytest.raises(grpc.RpcError) as refused:
        over_grpc(platform, photos, broken)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(refused.value.trailing_metadata())["x-slipway-reason"] == "IMAGE_UNDECODABLE"


def test_pixels_as_a_tensor_are_a_photo_too(platform: Platform, photos: str) -> None:
    pixels = Tensor("photo", "UINT8", np.zeros((192, 256, 3), dtype="u1"))
    status, _, answer = over_rest(platform, photos, InferRequest((pixels,)))
    assert status == 200, answer
    assert json.loads(answer.outputs[0].array[0])["detections"] == []


def test_status_names_the_protocol_s_address(platform: Platform, photos: str) -> None:
    assert platform.get("sdep", photos)["status"]["address"]["url"].endswith("/v2/models/image-transformer/infer")


@pytest.fixture(scope="module")
def echo(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A component that gives every tensor back, as the model ``m``."""
    folder: Path = tmp_path_factory.mktemp("echo")
    (folder / "image.yaml").write_text("name: reader/echo\nclass: echo.Echo\n")
    (folder / "echo.py").write_text(ECHO_CLASS)
    platform.slipway("image", "build", "reader/echo:1", str(folder))
    container = {"name": "m", "image": "reader/echo:1"}
    predictor = {"name": "main", "graph": {"name": "m"}, "componentSpecs": [{"spec": {"containers": [container]}}]}
    manifest = {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": ECHO, "namespace": "default"},
        "spec": {"protocol": "kfserving", "predictors": [predictor]},
    }
    yield from deployed(platform, manifest)


@pytest.mark.conformance
def test_tritonclient_gets_every_datatype_back(platform: Platform, echo: str) -> None:
    headers = (f"seldon={echo}", "namespace=default")
    found = told("call_triton.py", base(platform, echo).removeprefix("http://"), platform.gateway, "m", *headers)
    assert_right(found, checks=5 + 25 + 5 + 13)


@pytest.mark.conformance
def test_kserve_clients_get_every_datatype_back(platform: Platform, echo: str) -> None:
    headers = (f"seldon={echo}", "namespace=default")
    assert_right(told("call_kserve.py", base(platform, echo), platform.gateway, "m", *headers), checks=3 + 13 + 3 + 13)
