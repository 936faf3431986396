"""The prepackaged servers behind real SeldonDeployments: five model forms, both protocols, and a pickle nobody vouched for."""

from __future__ import annotations

import io
import json
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import joblib
import numpy as np
import pytest
import xgboost
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from scripts.demo import photo
from slipway.contract.predictor_servers import SHIPPED
from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.contract.protos import prediction_pb2_grpc as stubs
from slipway.onebox.services.credentials import load_model_credentials
from slipway.serving.v2_json import V2Body, parse_infer_response, render_infer_request
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_proto import parse_infer_response_proto, render_infer_request_proto
from slipway.serving.v2_tensors import Tensor, objects, tensor_of
from tests.data import REPOSITORY
from tests.e2e.platform import Platform
from tests.e2e.s3 import client as s3_client
from tests.e2e.test_wire_forms import CALL_TIMEOUT_S, PHOTO, assert_same_boxes, expected, post
from tests.waiting import wait_until

DOCUMENT = REPOSITORY / "docs" / "servers.md"
BUCKET, PREFIX = "slipway-models", "tests/servers"
PLACE = f"s3://{BUCKET}/{PREFIX}"
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
UNSIGNED = "signed"
INFER = "/inference.GRPCInferenceService/ModelInfer"
BUILT_WITHIN_S = 300
SCALE_CLASS = """
class Scale:
    def transform_input(self, X, names=None, meta=None):
        return X / 10
"""


def graph_manifest(
    name: str, graph: dict[str, Any], *, protocol: str = "seldon", containers: tuple[dict[str, str], ...] = ()
) -> dict[str, Any]:
    predictor = {"name": "main", "graph": graph}
    if containers:
        predictor["componentSpecs"] = [{"spec": {"containers": list(containers)}}]
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"protocol": protocol, "predictors": [predictor]},
    }


def server(implementation: str, model_uri: str, **more: Any) -> dict[str, Any]:
    return {"name": "model", "implementation": implementation, "modelUri": model_uri, **more}


def pair_graph() -> bytes:
    """``sum = a + b`` and ``product = a * b``."""
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in names]
        for names in (("a", "b"), ("sum", "product"))
    )
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def classifier() -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))


@pytest.fixture(scope="module")
def booster() -> xgboost.Booster:
    rows, species = load_iris(return_X_y=True)
    return xgboost.train(
        {"objective": "multi:softprob", "num_class": 3, "nthread": 1}, xgboost.DMatrix(rows, species), 3
    )


@pytest.fixture(scope="module")
def stored(platform: Platform, classifier: LogisticRegression, booster: xgboost.Booster) -> Iterator[None]:
    """A folder in S3 for each form, and the document's own model in the registry."""
    pickled = io.BytesIO()
    joblib.dump(classifier, pickled)
    files = {
        "sklearn/model.joblib": pickled.getvalue(),
        "xgboost/model.ubj": bytes(booster.save_raw("ubj")),
        "onnx/model.onnx": pair_graph(),
    }
    client = s3_client(load_model_credentials(platform.paths))
    for name, body in files.items():
        client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=body)
    train = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)[0]
    platform.run(sys.executable, "-c", train, **load_model_credentials(platform.paths))
    yield
    for name in files:
        client.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}")
    client.close()


@pytest.fixture(scope="module")
def served(platform: Platform, stored: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All SeldonDeployments at once; each test waits for its own."""
    folder: Path = tmp_path_factory.mktemp("scale")
    (folder / "image.yaml").write_text("name: reader/scale\nclass: scale.Scale\n")
    (folder / "scale.py").write_text(SCALE_CLASS)
    platform.slipway("image", "build", "reader/scale:1", str(folder))
    platform.apply(lake_secret(platform))
    platform.kubectl("apply", "-k", "seldon/overlays/iris")
    platform.kubectl("apply", "-k", "seldon/overlays/darknet-server")
    applied = [
        unsigned(),
        graph_manifest("pyfunc", server("MLFLOW_SERVER", "models:/iris@champion")),
        graph_manifest("boosted", server("XGBOOST_SERVER", f"lake:{BUCKET}/{PREFIX}/xgboost", envSecretRefName="lake")),
        graph_manifest("pair", server("ONNX_SERVER", f"{PLACE}/onnx"), protocol="v2"),
    ]
    for manifest in applied:
        platform.apply(manifest)
    yield
    for manifest in applied:
        platform.kubectl("delete", "sdep", manifest["metadata"]["name"])
    platform.kubectl("delete", "secret", "lake")
    for overlay in ("iris", "darknet-server"):
        platform.kubectl("delete", "-k", f"seldon/overlays/{overlay}")


def lake_secret(platform: Platform) -> dict[str, Any]:
    """The bucket as a remote of Seldon's initializer."""
    keys = load_model_credentials(platform.paths)
    options = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ACCESS_KEY_ID": keys["AWS_ACCESS_KEY_ID"],
        "SECRET_ACCESS_KEY": keys["AWS_SECRET_ACCESS_KEY"],
        "ENDPOINT": keys["AWS_ENDPOINT_URL"],
        "REGION": keys["AWS_DEFAULT_REGION"],
    }
    variables = {f"RCLONE_CONFIG_LAKE_{name}": value for name, value in options.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "lake", "namespace": "default"},
        "stringData": variables,
    }


def unsigned() -> dict[str, Any]:
    """Row 48 of the contract: a pre-processor of one's own before a prepackaged server."""
    scale = {"name": "scale", "type": "TRANSFORMER", "children": [server("SKLEARN_SERVER", f"{PLACE}/sklearn")]}
    return graph_manifest(UNSIGNED, scale, protocol="v2", containers=({"name": "scale", "image": "reader/scale:1"},))


def await_available(platform: Platform, name: str) -> str:
    """The address of its Pod."""

    def is_available() -> bool:
        return (platform.get("sdep", name).get("status") or {}).get("state") == "Available"

    wait_until(is_available, timeout_s=BUILT_WITHIN_S, what=f"{name} Available")
    (pod,) = platform.pods(selector=f"seldon-deployment-id={name}")
    return str(pod["status"]["podIP"])


def over_rest(platform: Platform, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a prediction in the seldon protocol."""
    return post(platform, json.dumps(body).encode(), "application/json", name=name)[:2]


def over_grpc(platform: Platform, name: str, message: pb.SeldonMessage) -> pb.SeldonMessage:
    with grpc.insecure_channel(platform.gateway) as channel:
        metadata = (("seldon", name), ("namespace", "default"))
        return stubs.SeldonStub(channel).Predict(message, metadata=metadata, timeout=CALL_TIMEOUT_S)


def rows_message() -> pb.SeldonMessage:
    message = pb.SeldonMessage()
    message.data.tensor.shape.extend(ROWS.shape)
    message.data.tensor.values.extend(ROWS.ravel())
    return message


def over_v2(
    base: str, grpc_address: str, request: InferRequest, *, metadata: tuple[tuple[str, str], ...] = ()
) -> list[InferResponse]:
    """The answers of REST and of gRPC."""
    sent = render_infer_request(request, binary=lambda _: False)
    asked = urllib.request.Request(f"{base}/infer", sent.body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=CALL_TIMEOUT_S) as answer:
        rest = parse_infer_response(V2Body(answer.read(), None))
    with grpc.insecure_channel(grpc_address) as channel:
        raw = render_infer_request_proto(request).SerializeToString()
        told = channel.unary_unary(INFER)(raw, metadata=metadata, timeout=CALL_TIMEOUT_S)
    return [rest, parse_infer_response_proto(v2.ModelInferResponse.FromString(told))]


def of_pod(address: str, request: InferRequest, node: str = "model") -> list[InferResponse]:
    """V2 of a component whose graph speaks the seldon protocol."""
    return over_v2(f"http://{address}:9000/v2/models/{node}", f"{address}:9500", request)


def through_gateway(platform: Platform, name: str, request: InferRequest) -> list[InferResponse]:
    base = f"http://{platform.gateway}/seldon/default/{name}/v2/models"
    return over_v2(base, platform.gateway, request, metadata=(("seldon", name), ("namespace", "default")))


def rows_request(factor: float = 1) -> InferRequest:
    return InferRequest((tensor_of("rows", ROWS * factor),))


def test_sklearn_server_answers_the_document_s_model(
    platform: Platform, served: None, classifier: LogisticRegression
) -> None:
    address = await_available(platform, "iris")
    expected_rows = classifier.predict_proba(ROWS)
    status, answer = over_rest(platform, "iris", {"data": {"ndarray": ROWS.tolist()}})
    assert status == 200, answer
    np.testing.assert_allclose(answer["data"]["ndarray"], expected_rows)
    found = over_grpc(platform, "iris", rows_message()).data.tensor.values
    np.testing.assert_allclose(np.reshape(found, (2, 3)), expected_rows)
    for one in of_pod(address, rows_request(), node="classifier"):
        assert one.outputs[0].name == "predict_proba", "the manifest's parameter method holds for V2 too"
        np.testing.assert_allclose(one.outputs[0].array, expected_rows)
    status, answer = over_rest(platform, "iris", {"data": {"ndarray": [[1, 2]]}})
    assert (status, answer["status"]["reason"]) == (400, "INPUT_MISMATCH")


def test_mlflow_server_answers_the_same_version(platform: Platform, served: None) -> None:
    address = await_available(platform, "pyfunc")
    _, answer = over_rest(platform, "pyfunc", {"data": {"ndarray": ROWS.tolist()}})
    assert answer["data"]["ndarray"] == [0, 2]
    assert list(over_grpc(platform, "pyfunc", rows_message()).data.tensor.values) == [0.0, 2.0]
    for one in of_pod(address, rows_request()):
        assert one.outputs[0].array.tolist() == [0, 2]


def test_xgboost_server_answers_as_the_booster(platform: Platform, served: None, booster: xgboost.Booster) -> None:
    address = await_available(platform, "boosted")
    expected_rows = booster.predict(xgboost.DMatrix(ROWS))
    _, answer = over_rest(platform, "boosted", {"data": {"ndarray": ROWS.tolist()}})
    np.testing.assert_allclose(answer["data"]["ndarray"], expected_rows, rtol=1e-6)
    found = over_grpc(platform, "boosted", rows_message()).data.tensor.values
    np.testing.assert_allclose(np.reshape(found, (2, 3)), expected_rows, rtol=1e-6)
    for one in of_pod(address, rows_request()):
        np.testing.assert_allclose(one.outputs[0].array, expected_rows, rtol=1e-6)


def test_onnx_server_takes_and_gives_named_tensors(platform: Platform, served: None) -> None:
    address = await_available(platform, "pair")
    tensors = tuple(tensor_of(name, np.array([[value]], "f4")) for name, value in (("b", 3), ("a", 2)))
    for one in through_gateway(platform, "pair", InferRequest(tensors, id="7")):
        assert {output.name: output.array.tolist() for output in one.outputs} == {"sum": [[5.0]], "product": [[6.0]]}
        assert one.id == "7"
    body = json.dumps({"jsonData": {"a": [[2]], "b": [[3]]}}).encode()
    request = urllib.request.Request(f"http://{address}:9000/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as answer:
        assert json.load(answer)["jsonData"] == {"sum": [[5.0]], "product": [[6.0]]}


def test_darknet_server_finds_what_the_library_finds(platform: Platform, served: None) -> None:
    address = await_available(platform, "darknet-server")
    url = f"http://{platform.gateway}/seldon/default/darknet-server/api/v1.0/predictions"
    request = urllib.request.Request(url, photo(PHOTO), {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as answer:
        assert answer.headers["x-slipway-model"].startswith("shapes/1 sha256:")
        assert_same_boxes(json.load(answer)["jsonData"]["detections"], expected("1"))
    told = over_grpc(platform, "darknet-server", pb.SeldonMessage(binData=photo(PHOTO)))
    labels = [one.struct_value["label"] for one in told.jsonData.struct_value["detections"].values]
    assert labels == [one["label"] for one in expected("1")]
    for one in of_pod(address, InferRequest((Tensor("photo", "BYTES", objects([photo(PHOTO)], [1])),)), node="yolo"):
        assert_same_boxes(json.loads(one.outputs[0].array[0])["detections"], expected("1"))


def test_unsigned_pickle_is_refused_with_the_line_that_lets_the_v2_graph_serve_it(
    platform: Platform, served: None
) -> None:
    def refusal() -> re.Match[str] | None:
        told = json.dumps((platform.get("sdep", UNSIGNED).get("status") or {}).get("predictors"))
        return re.search(r'main: (slipway\.dev/model-sha256): \\"(model=sha256:[0-9a-f]{64})\\"', told)

    line = wait_until(refusal, timeout_s=BUILT_WITHIN_S, what="a status with the line to add")
    assert line is not None
    manifest = unsigned()
    manifest["spec"]["predictors"][0]["annotations"] = {line[1]: line[2]}
    platform.apply(manifest)
    platform.wait_available(UNSIGNED)
    for one in through_gateway(platform, UNSIGNED, rows_request(10)):
        assert [(output.name, output.array.tolist()) for output in one.outputs] == [("predict", [0, 2])]


def test_servers_of_others_are_refused_in_words(platform: Platform) -> None:
    manifest = graph_manifest("triton", server("TRITON_SERVER", "s3://models/triton"), protocol="v2")
    told = platform.kubectl("apply", "-f", "-", stdin=json.dumps(manifest), check=False)
    assert "TRITON_SERVER" in told
    assert "--predictor-servers" in told


def test_each_server_was_built_by_its_first_use(platform: Platform, served: None) -> None:
    await_available(platform, "boosted")
    events = json.loads(platform.kubectl("get", "events", "-o", "json"))["items"]
    told = "\n".join(event["message"] for event in events if event["reason"] == "Pulled")
    seconds = {image: re.search(rf"{image} was built in (\d+\.\d) s", told) for image in SHIPPED.values()}
    assert all(seconds.values()), told
    print({image: found[1] for image, found in seconds.items() if found})
