"""A component's model in the V2 protocol, and how it is asked over each wire."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.microservice.settings import Identity
from slipway.serving.v2_json import V2Body, parse_infer_response, render_infer_request
from slipway.serving.v2_messages import InferRequest
from slipway.serving.v2_proto import parse_infer_response_proto, render_infer_request_proto
from slipway.serving.v2_tensors import Tensor, objects
from tests.microservice.conftest import Served

M = Identity("m", "example/m:0.1", "dep", "pred", "v1")
INFER = "/v2/models/m/infer"


class Model:
    """Answers ``result`` (its input without one) and remembers what it was given."""

    def __init__(self, result: Any = None) -> None:
        self.result, self.seen = result, []

    def predict(self, X, names, meta=None):
        self.seen.append((X, list(names), meta))
        return X if self.result is None else self.result


def numbers(values: Any = (1, 2), dtype: str = "f4", name: str = "x", **parameters: Any) -> Tensor:
    datatype = {"f4": "FP32", "i8": "INT64", "f8": "FP64"}[dtype]
    return Tensor(name, datatype, np.array(values, dtype=dtype), parameters)


def text(*items: bytes, **parameters: Any) -> Tensor:
    return Tensor("x", "BYTES", objects(list(items), [len(items)]), parameters)


async def over_rest(
    served: Served, request: InferRequest, *, binary: bool = False, path: str = INFER, headers: Any = None
) -> tuple[Any, Any]:
    """The answer (parsed where it is 200) and its headers."""
    sent = render_infer_request(request, binary=lambda _: binary)
    extra = {} if sent.json_bytes is None else {"Inference-Header-Content-Length": str(sent.json_bytes)}
    async with served.session.post(served.url + path, data=sent.body, headers={**extra, **(headers or {})}) as response:
        body, size = await response.read(), response.headers.get("Inference-Header-Content-Length")
        if response.status != 200:
            return (response.status, json.loads(body)), response.headers
        return parse_infer_response(V2Body(body, int(size) if size else None)), response.headers


async def over_grpc(served: Served, request: InferRequest, **options: Any) -> Any:
    call = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    raw = await call(render_infer_request_proto(request).SerializeToString(), **options)
    return parse_infer_response_proto(v2.ModelInferResponse.FromString(raw))


async def over(wire: str, served: Served, request: InferRequest) -> Any:
    if wire == "grpc":
        return await over_grpc(served, request)
    return (await over_rest(served, request, binary=wire == "binary"))[0]


WIRES = pytest.mark.parametrize("wire", ["json", "binary", "grpc"])
