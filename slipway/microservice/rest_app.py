"""The REST surface of a component (the contract's section 4.3) and the one of its metrics."""

from __future__ import annotations

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry

from slipway.contract.errors import component_error
from slipway.contract.headers import ANSWERED_BY, WIRE, WIRE_PROTOBUF
from slipway.microservice.calls import (
    RestReply,
    call_passthrough,
    call_rest,
    handled,
    input_of_rest,
    render_rest,
)
from slipway.microservice.refusals import answered
from slipway.microservice.requests import RestRequest
from slipway.microservice.service import Service
from slipway.microservice.v2_rest import add_v2_routes
from slipway.serving.accept import parse_accept
from slipway.serving.body import read_body
from slipway.serving.errors import NOT_READY, Failure, ServingError
from slipway.serving.exposition import exposition
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.messages import JSON
from slipway.serving.openapi import add_doc_routes, openapi
from slipway.serving.rest import Handler, application, hold_reply

PATHS: dict[str, tuple[tuple[str, bool], ...]] = {
    "predict": (("/predict", True), ("/api/v1.0/predictions", False), ("/api/v0.1/predictions", False)),
    "send_feedback": (("/send-feedback", True), ("/api/v1.0/feedback", False), ("/api/v0.1/feedback", False)),
    "transform_input": (("/transform-input", True),),
    "transform_output": (("/transform-output", True),),
    "route": (("/route", True),),
    "aggregate": (("/aggregate", True),),
}
"""Hook → its paths, and whether they answer GET too."""
HEALTH_PATHS = ("/health/status", "/api/v1.0/health/status")
METADATA_PATHS = ("/metadata", "/api/v1.0/metadata")


def render_failure(failure: Failure) -> dict[str, object]:
    return component_error(failure.reason, failure.info)


def component_app(service: Service, *, payload_passthrough: bool = False) -> web.Application:
    """Every endpoint of a component, whatever hooks it has.

    The executor is told of protobuf unless a hook gets bodies as they come: those are JSON to it, as in Seldon.
    """
    gets_bodies = payload_passthrough and service.hooks.has_raw("predict", is_proto=False)
    wire = {} if gets_bodies else {WIRE: WIRE_PROTOBUF}

    def sign() -> dict[str, str]:
        return {**wire, **service.facts()}

    app = application(lifecycle=service.lifecycle, render_error=render_failure, sign=sign)
    for hook, paths in PATHS.items():
        handler = _hook_handler(service, hook, payload_passthrough=payload_passthrough and hook == "predict")
        for path, takes_get in paths:
            traced = service.tracing.served_rest(path, handler)
            app.router.add_post(path, traced)
            if takes_get:
                app.router.add_get(path, traced, allow_head=False)
    _add_facts(app, service)
    add_v2_routes(app, service)
    return app


def _hook_handler(service: Service, hook: str, *, payload_passthrough: bool) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        with service.admission.receive() as ticket:
            query_json = request.query.get("json", "")
            body = await read_body(request, ticket)
            if hook == "send_feedback":
                service.check_addressee(request.headers.getall(ANSWERED_BY, ()))
            sent = RestRequest(request.headers.get(hdrs.CONTENT_TYPE, ""), query_json, body)
            accepted = parse_accept(request.headers.get(hdrs.ACCEPT, ""))

            def call() -> RestReply:
                if payload_passthrough and service.hooks.has_raw(hook, is_proto=False):
                    return handled(service.hooks, lambda: call_passthrough(service.hooks, sent))
                return handled(service.hooks, lambda: call_rest(service.hooks, hook, sent, accepted=accepted))

            if hook == "predict" and service.batches and not payload_passthrough:
                work = service.batches.run(
                    lambda: input_of_rest(sent, accepted=accepted),
                    lambda answer, spent_ms: render_rest(answer, hook, accepted=accepted, component_ms=spent_ms),
                )
            else:
                work = service.run(call)
            reply = await answered(work, request, service, render_failure)
            if isinstance(reply, RestReply):
                hold_reply(request, ticket, len(reply.body))
        if isinstance(reply, web.Response):
            return reply
        service.count_request()
        return web.Response(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            headers=service.timing(reply.component_ms),
        )

    return handle


def _add_facts(app: web.Application, service: Service) -> None:
    async def ping(_request: web.Request) -> web.Response:
        return web.Response(text="pong")

    async def status(_request: web.Request) -> web.Response:
        if not service.lifecycle.is_ready:
            raise ServingError("the component is draining", status_code=503, reason=NOT_READY)
        return web.Response(body=await service.health(), content_type=JSON)

    async def metadata(_request: web.Request) -> web.Response:
        return web.json_response(service.metadata)

    facts = dict.fromkeys(HEALTH_PATHS, status) | dict.fromkeys(METADATA_PATHS, metadata) | {"/health/ping": ping}
    for path, handler in facts.items():
        app.router.add_get(path, handler)
    document = openapi(PATHS, title=service.hooks.component.name, facts=facts)

    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(document)

    app.router.add_get("/seldon.json", describe)
    add_doc_routes(app.router, document)


def metrics_app(registry: CollectorRegistry, path: str, *, lifecycle: Lifecycle) -> web.Application:
    """Prometheus' text form of ``registry`` at ``path``, nothing else."""
    app = application(lifecycle=lifecycle, render_error=render_failure)
    app.router.add_get(path, exposition(registry))
    return app
