"""The executor's REST surface, seldon protocol (contract §3.1)."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import hdrs, web
from multidict import CIMultiDict

from slipway.contract import headers
from slipway.contract.errors import executor_error
from slipway.executor.dialect import METADATA_PATH, STATUS_PATH
from slipway.executor.engine import Engine
from slipway.executor.errors import NodeAnswered
from slipway.executor.graph import Node
from slipway.executor.payload import (
    INFLATED_ENCODINGS,
    Payload,
    Wire,
    escape_html,
    inflate,
    needs_escapes,
    to_protobuf,
)
from slipway.executor.rest_client import json_bytes_of
from slipway.executor.routes import routing_text
from slipway.executor.run import Journey, apart, puid_of
from slipway.executor.settings import Settings
from slipway.serving.accept import parse_accept
from slipway.serving.addressee import named
from slipway.serving.admission import Ticket
from slipway.serving.body import read_body
from slipway.serving.errors import NOT_READY, Failure, failure_of
from slipway.serving.exposition import exposition
from slipway.serving.json_body import dump_json
from slipway.serving.lifecycle import Lifecycle
from slipway.serving.messages import JSON
from slipway.serving.openapi import add_doc_routes, openapi
from slipway.serving.rest import Handler, application, error_response, hold_reply, told

LOG = logging.getLogger(__name__)
Work = Callable[[web.Request, Journey], Awaitable[Payload]]

PUID_OF = web.RequestKey("puid", str)

NOT_FORWARDED = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.PROXY_AUTHENTICATE, hdrs.PROXY_AUTHORIZATION, hdrs.TE, hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING, hdrs.UPGRADE, hdrs.HOST, hdrs.CONTENT_LENGTH, hdrs.CONTENT_TYPE, hdrs.CONTENT_ENCODING,
        hdrs.EXPECT, "Proxy-Connection", headers.JSON_BYTES, headers.HOOK, headers.ANSWERED_BY,
    )
)  # fmt: skip
"""Headers of one connection, of one body or of the executor's own; the rest goes to every node (contract §3.1)."""


class RestSurface:
    """Handlers and their application, seldon protocol; other protocols override what is theirs."""

    def __init__(self, engine: Engine, *, settings: Settings, lifecycle: Lifecycle) -> None:
        self.engine = engine
        self._settings = settings
        self._lifecycle = lifecycle

    def application(self) -> web.Application:
        settings = self._settings
        app = application(
            lifecycle=self._lifecycle,
            render_error=self.render_error,
            sign=self.engine.signature,
            finish=self._finish,
            cors_origin=settings.cors_origins,
            cors_headers=settings.cors_headers,
        )
        app.router.add_get("/live", _live)
        app.router.add_get("/ready", self.ready)
        app.router.add_get(settings.prometheus_path, exposition(self.engine.metrics.registry))
        self.add_routes(app.router)
        return app

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """The protocol's own paths."""
        for version in ("v1.0", "v0.1"):
            base = f"/api/{version}"
            router.add_post(f"{base}/predictions", self.served("predictions", self.predict))
            router.add_post(f"{base}/feedback", self.served("feedback", self._feedback))
            router.add_get(f"{base}/status/{{node}}", self.served("status", self._node_status))
            router.add_get(f"{base}/metadata/{{node}}", self.served("metadata", self._node_metadata))
        router.add_get("/api/v1.0/metadata", self.served("metadata", self._graph_metadata))
        router.add_get("/api/v1.0/status", self.ready)
        router.add_get("/api/v1.0/health/status", self.ready)
        add_doc_routes(router, document_of(self._settings))

    def render_error(self, failure: Failure) -> Mapping[str, Any]:
        """The body of an error of the executor's own."""
        return executor_error(failure.status_code, failure.info, failure.reason)

    def _finish(self, request: web.Request, response: web.StreamResponse) -> None:
        """Sign the answer, whoever gave it."""
        if response.prepared:
            return
        settings = self._settings
        puid = puid_of_request(request)
        response.headers[headers.PUID] = puid
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_HEADERS, settings.cors_headers)
        if "Ce-Specversion" in request.headers:
            path = request.rel_url.raw_path
            response.headers.update(
                cloud_event(puid, path, deployment=settings.deployment, namespace=settings.namespace)
            )

    def served(self, service: str, work: Work) -> Handler:
        """A handler that runs ``work``, answers with its payload or its error, and counts and times it."""

        async def serve(request: web.Request) -> web.StreamResponse:
            begun = time.perf_counter()
            answered_by = named(request.headers.getall(headers.ANSWERED_BY, ()))
            journey = Journey(puid_of_request(request), forwarded(request), answered_by=answered_by)
            self.engine.tracing.name_request(journey.puid)
            status = 499  # the client left before there was an answer
            try:
                response = await self._answer(work, request, journey)
                status = response.status
            finally:
                self.engine.metrics.served(service, request.method.lower(), str(status), time.perf_counter() - begun)
            if journey.seconds:
                response.headers[headers.SERVER_TIMING] = server_timing(journey.seconds)
            if routing := routing_text(journey.routing):
                response.headers[headers.ROUTING] = routing
            if journey.models:
                response.headers[headers.MODEL] = ", ".join(dict.fromkeys(journey.models))
            return response

        return self.engine.tracing.served_rest(service, serve)

    async def _answer(self, work: Work, request: web.Request, journey: Journey) -> web.Response:
        try:
            return _success(await work(request, journey))
        except NodeAnswered as error:
            return _passed_on(error)
        except Exception as error:
            failure = failure_of(error)
            LOG.log(
                logging.INFO if hasattr(error, "status_code") else logging.ERROR,
                "%s", told(failure, request),
                exc_info=None if hasattr(error, "status_code") else error,
            )  # fmt: skip
            return error_response(failure, self.render_error)

    async def predict(self, request: web.Request, journey: Journey) -> Payload:
        with self.engine.admission.receive() as ticket:
            journey.hold_answer = ticket.hold_answer
            body = await read_body(request, ticket)
            payload = Payload(
                body, request.headers.get(hdrs.CONTENT_TYPE, ""), json_bytes=json_bytes_of(request.headers)
            )
            accepted = parse_accept(request.headers.get(hdrs.ACCEPT, ""))
            ask = Wire.PROTOBUF if accepted.proto else Wire.JSON
            answer = await self.engine.predict(payload, client=self.engine.rest, journey=journey, ask=ask)
            found = answer if accepted.json else await apart(lambda: to_protobuf(answer), answer)
            return await _held(found, request, ticket)

    async def _feedback(self, request: web.Request, journey: Journey) -> Payload:
        with self.engine.admission.receive() as ticket:
            journey.hold_answer = ticket.hold_answer
            body = await read_body(request, ticket)
            payload = Payload(body, request.headers.get(hdrs.CONTENT_TYPE, ""))
            answer = await self.engine.feedback(payload, client=self.engine.rest, journey=journey)
            return await _held(answer, request, ticket)

    async def _node_status(self, request: web.Request, journey: Journey) -> Payload:
        return await self._fetch(request, journey, STATUS_PATH)

    async def _node_metadata(self, request: web.Request, journey: Journey) -> Payload:
        return await self._fetch(request, journey, METADATA_PATH)

    async def _fetch(self, request: web.Request, journey: Journey, path: str) -> Payload:
        return await self.fetch(request, self.engine.node(request.match_info["node"]), path, journey)

    async def fetch(self, request: web.Request, node: Node, path: str, journey: Journey, *, label: str = "") -> Payload:
        """The answer of one node to GET ``path``; ``label``: the metrics' name of the path."""
        with self.engine.admission.enter() as ticket:
            journey.hold_answer = ticket.hold_answer
            fetched = self.engine.rest.fetch(node, path, journey=journey, label=label)
            return await shown(await self.engine.in_time(fetched, journey), request)

    async def echo(self, request: web.Request, journey: Journey) -> Payload:
        """Feedback in the protocols that have none: accepted, logged and given back (contract §3.5)."""
        with self.engine.admission.receive() as ticket:
            payload = Payload(await read_body(request, ticket), request.headers.get(hdrs.CONTENT_TYPE, ""))
            answer = await _held(payload, request, ticket)
        self.engine.record_feedback(payload, journey)
        return answer

    async def _graph_metadata(self, request: web.Request, journey: Journey) -> Payload:
        with self.engine.admission.enter() as ticket:
            journey.hold_answer = ticket.hold_answer
            described = await self.engine.in_time(self.engine.rest_metadata(journey), journey)
        return await shown(Payload(dump_json(described), JSON), request)

    async def ready(self, _request: web.Request) -> web.Response:
        problems = await self.engine.problems() if self._lifecycle.is_ready else ["draining"]
        if not problems:
            return web.Response()
        LOG.info("not ready: %s", "; ".join(problems))
        return web.Response(status=503, headers={headers.REASON: NOT_READY})


async def _live(_request: web.Request) -> web.Response:
    return web.Response()


def document_of(settings: Settings) -> dict[str, Any]:
    """The OpenAPI document of a deployment, as its clients address it through the gateway."""
    versions = ("v1.0", "v0.1")
    paths = {
        "predict": [(f"/api/{version}/predictions", False) for version in versions],
        "send_feedback": [(f"/api/{version}/feedback", False) for version in versions],
    }
    facts = ("/api/v1.0/status", "/api/v1.0/metadata", "/api/v1.0/health/status")
    server = f"/seldon/{settings.namespace}/{settings.deployment}"
    return openapi(paths, title=settings.deployment or "SeldonDeployment", facts=facts, server=server)


def puid_of_request(request: web.Request) -> str:
    """Its identifier: the client's own, or one that it keeps from the first question on."""
    if PUID_OF not in request:
        request[PUID_OF] = puid_of(request.headers.get(headers.PUID, ""))
    return request[PUID_OF]


def forwarded(request: web.Request) -> CIMultiDict[str]:
    """The client's headers that every node gets, the request's PUID among them."""
    sent = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in NOT_FORWARDED)
    sent[headers.PUID] = puid_of_request(request)
    if hdrs.ACCEPT_ENCODING in sent:
        sent[hdrs.ACCEPT_ENCODING] = readable_encodings(sent.popall(hdrs.ACCEPT_ENCODING))
    return sent


def readable_encodings(asked: Iterable[str]) -> str:
    """Of a client's Accept-Encoding what may be asked of nodes: what one answers may be the next one's question."""
    codings = [coding.strip() for value in asked for coding in value.split(",")]
    known = INFLATED_ENCODINGS | {"identity"}
    return ", ".join(one for one in codings if one.partition(";")[0].strip().lower() in known) or "identity"


def server_timing(seconds: Mapping[str, float]) -> str:
    """One entry per node, in milliseconds, as the Server-Timing header has them."""
    return ", ".join(f"{node};dur={spent * 1000:.3f}" for node, spent in seconds.items())


def cloud_event(puid: str, path: str, *, deployment: str, namespace: str) -> dict[str, str]:
    """Headers for a client that speaks CloudEvents (contract §3.1)."""
    return {
        "Ce-Id": puid,
        "Ce-Specversion": "0.3",
        "Ce-Path": path,
        "Ce-Type": f"seldon.{deployment}.{namespace}.response",
        "Ce-Source": f"seldon.{deployment}",
    }


async def shown(payload: Payload, request: web.Request) -> Payload:
    """As the client gets it: inflated unless he takes its encoding, HTML's characters of JSON escaped (contract §3.1)."""
    if payload.encoding in INFLATED_ENCODINGS and payload.encoding not in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        compressed = payload
        payload = await apart(lambda: inflate(compressed), compressed)
    is_text = payload.is_json and not payload.encoding and payload.json_bytes is None
    if not is_text or not needs_escapes(payload.body):
        return payload
    plain = payload
    return await apart(lambda: replace(plain, body=escape_html(plain.body)), plain)


async def _held(answer: Payload, request: web.Request, ticket: Ticket) -> Payload:
    """The reply as the client gets it, its bytes counted until he has it: escaped it may be six times as long."""
    reply = await shown(answer, request)
    hold_reply(request, ticket, len(reply.body))
    return reply


def _success(payload: Payload) -> web.Response:
    """Status 200 whatever the node said on the way, with the last node's content type (contract §3.1)."""
    response = web.Response(body=payload.body, headers={hdrs.CONTENT_TYPE: payload.content_type or JSON})
    if payload.encoding:
        response.headers[hdrs.CONTENT_ENCODING] = payload.encoding
    if payload.json_bytes is not None:
        response.headers[headers.JSON_BYTES] = str(payload.json_bytes)
    return response


def _passed_on(error: NodeAnswered) -> web.Response:
    """A node's own refusal: its status, its body, its reason."""
    payload = error.payload
    response = web.Response(status=error.status_code, body=payload.body)
    if payload.content_type:
        response.headers[hdrs.CONTENT_TYPE] = payload.content_type
    if payload.encoding:
        response.headers[hdrs.CONTENT_ENCODING] = payload.encoding
    response.headers[headers.REASON] = error.reason
    return response
