"""The Open Inference Protocol of a component over REST, beside the paths of the seldon protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from slipway.contract.headers import HOOK
from slipway.microservice.refusals import answered
from slipway.microservice.service import Service
from slipway.microservice.v2_batches import V2Job, batches_of
from slipway.microservice.v2_calls import (
    ServedModel,
    call_v2,
    chosen_hook,
    requests_of_answers,
)
from slipway.microservice.v2_model import model_metadata, served_model, server_metadata
from slipway.serving.body import read_body
from slipway.serving.errors import ServingError
from slipway.serving.json_body import parse_json
from slipway.serving.rest import Handler, hold_reply
from slipway.serving.v2_json import (
    V2Body,
    infer_response_of,
    parse_infer_request,
    render_infer_request,
    render_infer_response,
)
from slipway.serving.v2_messages import InferRequest, InferResponse
from slipway.serving.v2_openapi import add_v2_docs
from slipway.serving.v2_rest import answering, json_bytes_of, unknown_path, v2_error, v2_response

MODEL = "/v2/models/{model}"
PREFIXES = (MODEL, f"{MODEL}/versions/{{version}}", "/v2/models")
"""With name, with name and version, and nameless (Seldon's extension)."""


def add_v2_routes(app: web.Application, service: Service) -> None:
    """Server and model questions, and inferences."""
    router = app.router
    router.add_get("/v2", answering(_told(server_metadata)))
    router.add_get("/v2/health/live", answering(_told(lambda: {"live": True})))
    router.add_get("/v2/health/ready", answering(_ready(service)))
    for path in (MODEL, f"{MODEL}/versions/{{version}}"):
        router.add_get(path, answering(_described(service)))
        router.add_get(f"{path}/ready", answering(_model_ready(service)))
    for path in PREFIXES:
        for verb, hook in (("infer", ""), ("route", "route"), ("aggregate", "aggregate")):
            handler = answering(_infer(service, hook))
            router.add_post(f"{path}/{verb}", service.tracing.served_rest(f"{path}/{verb}", handler))
    add_v2_docs(router, service.hooks.component.name)
    router.add_route("*", "/v2/{path:.*}", answering(unknown_path))


def _told(facts: Callable[[], dict[str, Any]]) -> Handler:
    async def tell(_request: web.Request) -> web.Response:
        return web.json_response(facts())

    return tell


def _ready(service: Service) -> Handler:
    async def tell(_request: web.Request) -> web.Response:
        is_ready = service.lifecycle.is_ready
        return web.json_response({"ready": is_ready}, status=200 if is_ready else 503)

    return tell


def _model_ready(service: Service) -> Handler:
    """Ready while the process does not drain and the component's own health hook does not raise."""

    async def tell(request: web.Request) -> web.Response:
        model = _checked(service, request)
        is_ready = service.lifecycle.is_ready
        if is_ready:
            await service.health()
        return web.json_response({"name": model.names[0], "ready": is_ready}, status=200 if is_ready else 503)

    return tell


def _described(service: Service) -> Handler:
    async def tell(request: web.Request) -> web.Response:
        _checked(service, request)
        return web.json_response(model_metadata(service))

    return tell


def _checked(service: Service, request: web.Request) -> ServedModel:
    model = served_model(service)
    model.check(request.match_info.get("model", ""), request.match_info.get("version", ""))
    return model


def _infer(service: Service, hook: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        model = _checked(service, request)
        asked = hook or chosen_hook(service.hooks, request.headers.get(HOOK, ""))
        json_bytes = json_bytes_of(request.headers)
        with service.admission.receive() as ticket:
            sent = V2Body(await read_body(request, ticket), json_bytes)
            if batches := batches_of(service, asked):
                job = V2Job(model, lambda: parse_infer_request(sent), _write)
                work = batches.run(job.parse, job.render)
            else:
                work = service.run(lambda: _answer(service, asked, sent, model))
            found = await answered(work, request, service, v2_error)
            if not isinstance(found, web.Response):
                hold_reply(request, ticket, len(found[0].body))
        if isinstance(found, web.Response):
            return found
        answer, component_ms = found
        service.count_request()
        return v2_response(answer.body, answer.json_bytes, service.timing(component_ms))

    return handle


def _answer(service: Service, hook: str, sent: V2Body, model: ServedModel) -> tuple[V2Body, float]:
    """Parse, call, render; in a component thread."""
    requests, raw = _parsed_list(sent) if hook == "aggregate" else _parsed(sent)
    response, component_ms = call_v2(service.hooks, hook, requests, raw=raw, is_proto=False, model=model)
    return _write(requests[0], response, component_ms)


def _write(request: InferRequest, response: InferResponse, component_ms: float) -> tuple[V2Body, float]:
    return render_infer_response(response, binary=request.wants_binary), component_ms


def _parsed(sent: V2Body) -> tuple[list[InferRequest], Callable[[], Any]]:
    request = parse_infer_request(sent)
    return [request], lambda: json.loads(render_infer_request(request, binary=lambda _: False).body)


def _parsed_list(sent: V2Body) -> tuple[list[InferRequest], Callable[[], Any]]:
    """The body of a combiner: a JSON array of the children's answers (contract §3.2)."""
    answers = parse_json(sent.body)
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise ServingError("aggregate takes a JSON array of inference responses")
    return requests_of_answers([infer_response_of(answer) for answer in answers]), lambda: answers
