"""The executor's gRPC surface, protocols v2 and kfserving: ``inference.GRPCInferenceService`` (contract §3.7)."""

from __future__ import annotations

import slipway
from slipway.contract.protos import inference_pb2 as v2
from slipway.executor.grpc_server import GrpcSurface, Work, parsed
from slipway.executor.models import named_model, node_of_model
from slipway.executor.payload import Payload, Wire
from slipway.executor.run import Journey
from slipway.executor.v2 import SERVICE
from slipway.serving.messages import PROTOBUF
from slipway.serving.v2_rest import SERVER_EXTENSIONS


class V2GrpcSurface(GrpcSurface):
    """Inferences, and questions about the server and the nodes' models."""

    descriptors = v2.DESCRIPTOR.pool

    def services(self) -> dict[str, dict[str, Work]]:
        return {
            SERVICE: {
                "ServerLive": self._live,
                "ServerReady": self._ready,
                "ServerMetadata": self._server,
                "ModelReady": self._model_ready,
                "ModelMetadata": self._model_metadata,
                "ModelInfer": self._infer,
            }
        }

    async def _live(self, _request: bytes, _journey: Journey) -> bytes:
        return v2.ServerLiveResponse(live=True).SerializeToString()

    async def _ready(self, _request: bytes, _journey: Journey) -> bytes:
        return v2.ServerReadyResponse(ready=not await self.engine.problems()).SerializeToString()

    async def _server(self, _request: bytes, _journey: Journey) -> bytes:
        told = v2.ServerMetadataResponse(
            name="slipway", version=slipway.__version__, extensions=list(SERVER_EXTENSIONS)
        )
        return told.SerializeToString()

    async def _model_ready(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, v2.ModelReadyRequest)
        return await self._ask(asked.name, "ModelReady", request, journey)

    async def _model_metadata(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, v2.ModelMetadataRequest)
        return await self._ask(asked.name, "ModelMetadata", request, journey)

    async def _ask(self, name: str, method: str, request: bytes, journey: Journey) -> bytes:
        node = node_of_model(self.engine.graph, name)
        fetched = self.engine.grpc.fetch(node, f"/{SERVICE}/{method}", journey, body=request)
        return await self.engine.in_time(fetched, journey)

    async def _infer(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, v2.ModelInferRequest)
        journey.model = named_model(self.engine.graph, asked.model_name)
        payload = Payload(request, PROTOBUF)
        answer = await self.engine.predict(payload, client=self.engine.grpc, journey=journey, ask=Wire.PROTOBUF)
        return answer.body
