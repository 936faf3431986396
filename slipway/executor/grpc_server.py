"""The executor's gRPC surface: `seldon.protos.Seldon`, with messages passed on as bytes (contract §3.7, §3.8)."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from slipway.contract import headers
from slipway.contract.protos import prediction_pb2 as pb
from slipway.executor.engine import Engine
from slipway.executor.errors import NodeAnswered, UnknownNode
from slipway.executor.grpc_client import METADATA_METHOD, go_code
from slipway.executor.payload import Payload, Wire
from slipway.executor.rest_server import server_timing
from slipway.executor.routes import routing_text
from slipway.executor.run import Journey, apart, puid_of
from slipway.serving.addressee import named
from slipway.serving.errors import failure_of, grpc_details, grpc_status, one_line
from slipway.serving.messages import PROTOBUF, M, parse_message
from slipway.serving.rpc import hold_reply
from slipway.serving.tracing import Metadata

LOG = logging.getLogger(__name__)
SERVICE = "seldon.protos.Seldon"
NOT_FORWARDED = frozenset({"user-agent", "content-type", "te", "host", headers.HOOK, headers.ANSWERED_BY})
Work = Callable[[bytes, Journey], Awaitable[bytes]]


class GrpcSurface:
    """Handlers of the protocol's services, seldon protocol; other protocols override what is theirs."""

    descriptors: Any = None
    """Where reflection finds the services: None for protobuf's default pool."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def services(self) -> dict[str, dict[str, Work]]:
        """Full name of a service → its methods."""
        return {
            SERVICE: {
                "Predict": self._predict,
                "SendFeedback": self._feedback,
                "ModelMetadata": self._model_metadata,
                "GraphMetadata": self._graph_metadata,
            }
        }

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The services without serialisers: requests and answers are the bytes on the wire."""
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: grpc.unary_unary_rpc_method_handler(self._served(f"/{service}/{name}", work))
                    for name, work in works.items()
                },
            )
            for service, works in self.services().items()
        ]

    def _served(self, service: str, work: Work) -> Any:

        async def serve(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            begun = time.perf_counter()
            journey = journey_of(context)
            self.engine.tracing.name_request(journey.puid)
            code = grpc.StatusCode.CANCELLED
            told = asyncio.create_task(context.send_initial_metadata(((headers.PUID, journey.puid),)))
            try:
                try:
                    with self.engine.admission.enter() as ticket:
                        ticket.hold(len(request))
                        journey.hold_answer = ticket.hold_answer
                        answer = hold_reply(await work(request, journey), ticket, context)
                finally:
                    await told  # no status may overtake it
                code = grpc.StatusCode.OK
            except Exception as error:
                code, details, reason = status_of(error, service)
                context.set_trailing_metadata((*self._trailing(journey), (headers.REASON, reason)))
                await context.abort(code, details)
                raise
            finally:
                self.engine.metrics.served(service, "unary", go_code(code), time.perf_counter() - begun)
            context.set_trailing_metadata(self._trailing(journey))
            return answer

        return self.engine.tracing.served_grpc(service, serve)

    async def _predict(self, request: bytes, journey: Journey) -> bytes:
        payload = Payload(request, PROTOBUF)
        answer = await self.engine.predict(payload, client=self.engine.grpc, journey=journey, ask=Wire.PROTOBUF)
        return answer.body

    async def _feedback(self, request: bytes, journey: Journey) -> bytes:
        payload = Payload(request, PROTOBUF)
        answer = await self.engine.feedback(payload, client=self.engine.grpc, journey=journey)
        return b"" if answer is payload else answer.body  # a Feedback that no node answered is no SeldonMessage

    async def _model_metadata(self, request: bytes, journey: Journey) -> bytes:
        asked = await parsed(request, pb.SeldonModelMetadataRequest)
        node = self.engine.node(asked.name)
        fetched = self.engine.grpc.fetch(node, METADATA_METHOD, journey)
        return await self.engine.in_time(fetched, journey)

    async def _graph_metadata(self, _request: bytes, journey: Journey) -> bytes:
        described = await self.engine.in_time(self.engine.grpc_metadata(journey), journey)
        return described.SerializeToString()

    def _trailing(self, journey: Journey) -> Metadata:
        found: list[tuple[str, str]] = [*self.engine.signature().items()]
        found += [(headers.MODEL, model) for model in dict.fromkeys(journey.models)]
        if routing := routing_text(journey.routing):
            found.append((headers.ROUTING, routing))
        if journey.seconds:
            found.append((headers.SERVER_TIMING, server_timing(journey.seconds)))
        return tuple(found)


async def parsed(request: bytes, kind: type[M]) -> M:
    """A client's message; a large one is read in a thread, for some take seconds to refuse. ServingError 400."""
    return await apart(lambda: parse_message(request, kind), Payload(request, PROTOBUF))


def journey_of(context: grpc.aio.ServicerContext[bytes, bytes]) -> Journey:
    """The call's PUID (its own, or a new one), the metadata that every node gets, whose it is, and its deadline."""
    metadata = context.invocation_metadata() or ()
    puid = puid_of(next((str(value) for key, value in metadata if key == headers.PUID), ""))
    forwarded = [
        (key, value)
        for key, value in metadata
        if key not in NOT_FORWARDED and key != headers.PUID and not key.startswith((":", "grpc-"))
    ]
    remaining_s = context.time_remaining()
    return Journey(
        puid,
        (*forwarded, (headers.PUID, puid)),
        answered_by=named(str(value) for key, value in metadata if key == headers.ANSWERED_BY),
        remaining_s=math.inf if remaining_s is None else max(0.0, remaining_s),
    )


def status_of(error: Exception, service: str) -> tuple[grpc.StatusCode, str, str]:
    """The status, the text and the reason of a failed call; a node's own status as the node gave it."""
    if isinstance(error, NodeAnswered) and error.code is not None:
        return error.code, grpc_details(error.payload.body.decode(errors="replace")), error.reason
    failure = failure_of(error)
    code = grpc.StatusCode.NOT_FOUND if isinstance(error, UnknownNode) else grpc_status(failure.status_code)
    expected = hasattr(error, "status_code")
    LOG.log(
        logging.INFO if expected else logging.ERROR,
        "%s: %s %s: %s", service, code.name, failure.reason, one_line(failure.info),
        exc_info=None if expected else error,
    )  # fmt: skip
    return code, grpc_details(failure.info), failure.reason
