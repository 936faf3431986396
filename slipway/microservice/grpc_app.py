"""The gRPC services of a component: Model, Router, Transformer, OutputTransformer, Combiner, Generic, Seldon."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc

from slipway.contract.headers import ANSWERED_BY, REASON
from slipway.contract.protos import prediction_pb2 as pb
from slipway.microservice.calls import call_grpc, render_grpc
from slipway.microservice.inputs import input_of_proto
from slipway.microservice.metadata import metadata_to_proto
from slipway.microservice.requests import MESSAGE_KINDS
from slipway.microservice.service import Service
from slipway.serving.errors import Failure, failure_of, grpc_details, grpc_status, is_fault, one_line
from slipway.serving.messages import parse_message
from slipway.serving.rpc import hold_reply

HOOK_METHODS = {
    "Predict": "predict",
    "TransformInput": "transform_input",
    "TransformOutput": "transform_output",
    "Route": "route",
    "Aggregate": "aggregate",
    "SendFeedback": "send_feedback",
}
METADATA_METHODS = frozenset({"Metadata", "ModelMetadata"})

logger = logging.getLogger(__name__)
Behaviour = Callable[[bytes, Any], Awaitable[bytes]]
Answered = tuple[bytes, float] | Failure
"""The rendered reply and the component's milliseconds, or what is said instead."""


def service_names() -> list[str]:
    """Full names of every service of the contract's proto."""
    return [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]


def component_handlers(service: Service) -> list[grpc.GenericRpcHandler]:
    """A handler for every method of every service; GraphMetadata, which a component cannot answer, is UNIMPLEMENTED."""
    handlers = []
    for description in pb.DESCRIPTOR.services_by_name.values():
        methods = {
            method.name: grpc.unary_unary_rpc_method_handler(behaviour)
            for method in description.methods
            if (behaviour := _behaviour(service, description.full_name, method.name)) is not None
        }
        handlers.append(grpc.method_handlers_generic_handler(description.full_name, methods))
    return handlers


def _behaviour(service: Service, owner: str, method: str) -> Behaviour | None:
    if hook := HOOK_METHODS.get(method):
        return service.tracing.served_grpc(f"/{owner}/{method}", _hook_behaviour(service, hook))
    return _metadata_behaviour(service) if method in METADATA_METHODS else None


def _hook_behaviour(service: Service, hook: str) -> Behaviour:
    kind = MESSAGE_KINDS.get(hook, pb.SeldonMessage)

    def call(raw: bytes) -> tuple[bytes, float]:
        return call_grpc(service.hooks, hook, parse_message(raw, kind))

    def run(raw: bytes) -> Awaitable[tuple[bytes, float]]:
        if hook == "predict" and service.batches:
            return service.batches.run(
                lambda: input_of_proto(parse_message(raw, pb.SeldonMessage)),
                lambda reply, spent_ms: (render_grpc(reply), spent_ms),
            )
        return service.run(lambda: call(raw))

    async def answer(raw: bytes, context: Any) -> Answered:
        try:
            with service.admission.enter() as ticket:
                ticket.hold(len(raw))
                if hook == "send_feedback":
                    metadata = context.invocation_metadata() or ()
                    service.check_addressee(str(value) for key, value in metadata if key == ANSWERED_BY)
                reply, component_ms = await run(raw)
                return hold_reply(reply, ticket, context), component_ms
        except Exception as exc:  # noqa: BLE001 - whatever a component raises becomes an answer
            return logged_grpc(exc, hook)

    return reply_with(service, answer)


def reply_with(service: Service, answer: Callable[[bytes, Any], Awaitable[Answered]]) -> Behaviour:
    """Send what ``answer`` makes of a request and its context, with provenance and time in the trailing metadata."""

    async def behave(raw: bytes, context: Any) -> bytes:
        begun = time.perf_counter()
        answered = await answer(raw, context)
        if isinstance(answered, Failure):
            del raw  # gRPC keeps the frame of an abort until the next garbage collection
            await abort(context, answered, {**service.facts(), **service.timing_since(begun)})
        reply, component_ms = answered
        service.count_request()
        context.set_trailing_metadata(tuple({**service.facts(), **service.timing(component_ms)}.items()))
        return reply

    return behave


def _metadata_behaviour(service: Service) -> Behaviour:
    async def behave(_raw: bytes, context: Any) -> bytes:
        context.set_trailing_metadata(tuple(service.facts().items()))
        try:
            return metadata_to_proto(service.metadata).SerializeToString()
        except Exception as exc:  # noqa: BLE001 - as above: it becomes an answer
            await abort(context, logged_grpc(exc, "metadata"), service.facts())

    return behave


def logged_grpc(error: Exception, hook: str) -> Failure:
    """The failure of whatever a call raised; with its traceback in the log where nobody meant it."""
    failure = failure_of(error)
    if is_fault(error, failure):
        logger.error("gRPC %s: %s: %s", hook, failure.reason, one_line(failure.info), exc_info=error)
    else:
        logger.debug("gRPC %s: %s: %s", hook, failure.reason, one_line(failure.info))
    return failure


async def abort(context: Any, failure: Failure, facts: Mapping[str, str]) -> NoReturn:
    """End the call with the status, text and machine code of ``failure``."""
    details = grpc_details(failure.info)
    await context.abort(grpc_status(failure.status_code), details, ((REASON, failure.reason), *facts.items()))
    raise RuntimeError("abort did not raise")
