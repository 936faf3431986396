"""The executor's gRPC surface, protocol tensorflow: TensorFlow Serving's two services (contract §3.7, §3.14)."""

from __future__ import annotations

from slipway.contract.protos import tensorflow_serving_pb2 as tf
from slipway.executor.errors import NotOffered
from slipway.executor.grpc_server import GrpcSurface, Work, parsed
from slipway.executor.models import named_model, node_of_model
from slipway.executor.payload import Payload, Wire
from slipway.executor.run import Journey
from slipway.executor.tensorflow import MODELS, PREDICTIONS
from slipway.serving.messages import PROTOBUF

ONE_NODE_METHODS = ("Classify", "Regress", "MultiInference")
"""Calls whose answers are no next node's request: a graph of one node passes them on, byte for byte."""


class TensorflowGrpcSurface(GrpcSurface):
    """Predict through the graph; status, metadata and the methods of one node passed on."""

    def services(self) -> dict[str, dict[str, Work]]:
        return {
            PREDICTIONS: {
                "Predict": self._predict,
                "GetModelMetadata": self._metadata,
                **{method: self._one_node(method) for method in ONE_NODE_METHODS},
            },
            MODELS: {"GetModelStatus": self._status},
        }

    async def _predict(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, tf.PredictRequest)
        journey.model = named_model(self.engine.graph, asked.model_spec.name)
        payload = Payload(request, PROTOBUF)
        answer = await self.engine.predict(payload, client=self.engine.grpc, journey=journey, ask=Wire.PROTOBUF)
        return answer.body

    async def _status(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, tf.GetModelStatusRequest)
        return await self._ask(asked.model_spec.name, f"/{MODELS}/GetModelStatus", request, journey)

    async def _metadata(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, tf.GetModelMetadataRequest)
        return await self._ask(asked.model_spec.name, f"/{PREDICTIONS}/GetModelMetadata", request, journey)

    def _one_node(self, method: str) -> Work:
        async def passed_on(request: bytes, journey: Journey) -> bytes:
            if len(self.engine.graph.nodes) > 1:
                raise NotOffered(f"{method} needs a graph of one node; only Predict goes through several")
            return await self._ask("", f"/{PREDICTIONS}/{method}", request, journey)

        return passed_on

    async def _ask(self, name: str, method: str, request: bytes, journey: Journey) -> bytes:
        node = node_of_model(self.engine.graph, name)
        fetched = self.engine.grpc.fetch(node, method, journey, body=request)
        return await self.engine.in_time(fetched, journey)
