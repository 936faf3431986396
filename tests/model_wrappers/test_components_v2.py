"""The graph components in a graph of protocol v2: the same classes, asked with tensors."""

from __future__ import annotations

import json
from typing import Any

from model_wrappers.fusion import WeightedBoxFusion
from model_wrappers.routers import ThompsonRouter
from slipway.microservice.component import component_of
from slipway.microservice.custom_metrics import CustomMetrics
from slipway.microservice.hooks import Hooks
from slipway.microservice.settings import Identity
from slipway.microservice.v2_calls import ServedModel, call_v2
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_tensors import Tensor, objects

MODEL = ServedModel(("node",))


def ask(component: Any, hook: str, *contents: bytes, kind: str = "") -> InferResponse:
    """The answer to one BYTES tensor, or to one of each child."""
    identity = Identity("node", "any:1", "birds", "main", "1")
    parameters = {"content_type": kind} if kind else {}
    requests = [
        InferRequest((Tensor("output-0", "BYTES", objects([one], [1]), parameters),), id="mine") for one in contents
    ]
    hooks = Hooks(component_of(component), CustomMetrics(identity), identity)
    return call_v2(hooks, hook, requests, raw=dict, is_proto=False, model=MODEL)[0]


def test_router_routes_tensors() -> None:
    (output,) = ask(ThompsonRouter(3, state="memory", seed=1), "route", b"photo").outputs
    assert output.array.ravel()[0] in (0, 1, 2)


def test_fusion_takes_and_gives_detections_as_json_bytes() -> None:
    row = {"label": "a", "class_id": 0, "confidence": 0.8, "box": {"x_min": 1, "y_min": 1, "x_max": 9, "y_max": 9}}
    answer = json.dumps({"detections": [row], "image": {"width": 10, "height": 10}}).encode()
    (output,) = ask(WeightedBoxFusion(), "aggregate", answer, answer, kind="json").outputs
    assert output.parameters["content_type"] == "json"
    assert json.loads(output.array[0])["detections"] == [row]
