"""The Open Inference Protocol of a component over gRPC: ``inference.GRPCInferenceService``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from slipway.contract.headers import HOOK
from slipway.contract.protos import inference_pb2 as v2
from slipway.microservice.grpc_app import Answered, abort, logged_grpc, reply_with
from slipway.microservice.service import Service
from slipway.microservice.v2_batches import V2Job, batches_of
from slipway.microservice.v2_calls import ServedModel, call_v2, chosen_hook, requests_of_joined
from slipway.microservice.v2_model import model_metadata, served_model, server_metadata
from slipway.serving.messages import parse_message
from slipway.serving.rpc import hold_reply
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_proto import parse_infer_request_proto, render_infer_response_proto

SERVICE = "inference.GRPCInferenceService"
DESCRIPTORS = v2.DESCRIPTOR.pool
"""Where reflection finds the service."""

Fact = Callable[[bytes], Awaitable[Any]]


def v2_handler(service: Service) -> grpc.GenericRpcHandler:
    """Every method of the service."""
    facts: dict[str, Fact] = {
        "ServerLive": _server_live,
        "ServerReady": lambda _: _server_ready(service),
        "ServerMetadata": _server_metadata,
        "ModelReady": lambda raw: _model_ready(service, parse_message(raw, v2.ModelReadyRequest)),
        "ModelMetadata": lambda raw: _model_metadata(service, parse_message(raw, v2.ModelMetadataRequest)),
    }
    methods = {name: grpc.unary_unary_rpc_method_handler(_told(service, name, fact)) for name, fact in facts.items()}
    infer = service.tracing.served_grpc(f"/{SERVICE}/ModelInfer", _infer(service))
    methods["ModelInfer"] = grpc.unary_unary_rpc_method_handler(infer)
    return grpc.method_handlers_generic_handler(SERVICE, methods)


async def _server_live(_raw: bytes) -> v2.ServerLiveResponse:
    return v2.ServerLiveResponse(live=True)


async def _server_ready(service: Service) -> v2.ServerReadyResponse:
    return v2.ServerReadyResponse(ready=service.lifecycle.is_ready)


async def _server_metadata(_raw: bytes) -> v2.ServerMetadataResponse:
    return v2.ServerMetadataResponse(**server_metadata())


async def _model_ready(service: Service, asked: v2.ModelReadyRequest) -> v2.ModelReadyResponse:
    served_model(service).check(asked.name, asked.version)
    if service.lifecycle.is_ready:
        await service.health()
    return v2.ModelReadyResponse(ready=service.lifecycle.is_ready)


async def _model_metadata(service: Service, asked: v2.ModelMetadataRequest) -> v2.ModelMetadataResponse:
    served_model(service).check(asked.name, asked.version)
    return v2.ModelMetadataResponse(**model_metadata(service))


def _told(service: Service, name: str, fact: Fact) -> Any:
    async def behave(raw: bytes, context: Any) -> bytes:
        try:
            told = await fact(raw)
        except Exception as exc:  # noqa: BLE001 - whatever a component raises becomes an answer
            await abort(context, logged_grpc(exc, name), service.facts())
        context.set_trailing_metadata(tuple(service.facts().items()))
        answer: bytes = told.SerializeToString()
        return answer

    return behave


def _infer(service: Service) -> Any:
    async def answer(raw: bytes, context: Any) -> Answered:
        metadata = context.invocation_metadata() or ()
        named = next((str(value) for key, value in metadata if key == HOOK), "")
        try:
            hook = chosen_hook(service.hooks, named)
            model = served_model(service)
            with service.admission.enter() as ticket:
                ticket.hold(len(raw))
                if batches := batches_of(service, hook):
                    job = V2Job(model, lambda: _read(raw, model)[1], _write)
                    reply, component_ms = await batches.run(job.parse, job.render)
                else:
                    reply, component_ms = await service.run(lambda: _answer(service, hook, raw, model))
                return hold_reply(reply, ticket, context), component_ms
        except Exception as exc:  # noqa: BLE001 - as above
            return logged_grpc(exc, "ModelInfer")

    return reply_with(service, answer)


def _answer(service: Service, hook: str, raw: bytes, model: ServedModel) -> tuple[bytes, float]:
    """Parse, call, render; in a component thread."""
    message, request = _read(raw, model)
    requests = requests_of_joined(request) if hook == "aggregate" else [request]
    response, component_ms = call_v2(service.hooks, hook, requests, raw=lambda: message, is_proto=True, model=model)
    return _write(request, response, component_ms)


def _read(raw: bytes, model: ServedModel) -> tuple[v2.ModelInferRequest, InferRequest]:
    message = parse_message(raw, v2.ModelInferRequest)
    model.check(message.model_name, message.model_version)
    return message, parse_infer_request_proto(message)


def _write(request: InferRequest, response: InferResponse, component_ms: float) -> tuple[bytes, float]:
    return render_infer_response_proto(response, is_raw=request.is_raw).SerializeToString(), component_ms
