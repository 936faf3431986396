"""A prepackaged server over one model folder, served on free ports."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.contract.protos import inference_pb2 as v2
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.settings import Identity
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_proto import parse_infer_response_proto, render_infer_request_proto
from slipway.serving.v2_tensors import Tensor, tensor_of
from tests.microservice.conftest import Serve, Served, serve  # noqa: F401  - a fixture

NODE = Identity("clf", "slipway/clf:0.1", "dep", "pred", "v1")
PROVENANCE = {"name": "iris", "version": "3", "digest": f"sha256:{'1' * 64}", "uri": "models:/iris/3"}

ServeModel = Callable[[Any], Awaitable[Served]]


@pytest.fixture
def serve_model(serve: Serve) -> ServeModel:  # noqa: F811  - the fixture
    """``await serve_model(server)`` loads it as the microservice does, and serves it as the node ``clf``."""

    async def start(server: Any) -> Served:
        server.load()
        return await serve(server, identity=NODE)

    return start


def with_provenance(folder: Path) -> Path:
    (folder / ".slipway-model.json").write_text(json.dumps(PROVENANCE))
    return folder


def tensor(name: str, values: Any, dtype: str = "f8", **parameters: Any) -> Tensor:
    return tensor_of(name, np.array(values, dtype=dtype), parameters)


async def infer(served: Served, request: InferRequest) -> InferResponse:
    """Over V2's gRPC; outputs of REST are compared with these in the tests of the microservice."""
    call = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    raw = await call(render_infer_request_proto(request).SerializeToString())
    return parse_infer_response_proto(v2.ModelInferResponse.FromString(raw))


async def predict_grpc(served: Served, rows: Any) -> pb.SeldonMessage:
    message = pb.SeldonMessage()
    array = np.asarray(rows, dtype=float)
    message.data.tensor.shape.extend(array.shape)
    message.data.tensor.values.extend(array.ravel().tolist())
    call = served.channel.unary_unary(
        "/seldon.protos.Model/Predict",
        request_serializer=pb.SeldonMessage.SerializeToString,
        response_deserializer=pb.SeldonMessage.FromString,
    )
    return await call(message)


def ndarray(rows: Any, names: list[str] | None = None) -> dict[str, Any]:
    return {"data": {"ndarray": rows, **({"names": names} if names else {})}}


async def refused(served: Served, body: dict[str, Any]) -> tuple[int, str, str]:
    """Status, reason and sentence of a refused prediction."""
    status, answer = await served.post("/predict", body)
    return status, answer["status"]["reason"], answer["status"]["info"]
