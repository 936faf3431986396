"""The executor's REST surface, protocols v2 and kfserving (contract §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

import slipway
from slipway.executor.models import checked_name, named_model, node_of_model
from slipway.executor.payload import Payload
from slipway.executor.rest_server import RestSurface
from slipway.executor.run import Journey
from slipway.executor.v2 import model_path
from slipway.serving.errors import Failure
from slipway.serving.json_body import dump_json
from slipway.serving.messages import JSON
from slipway.serving.v2_openapi import add_v2_docs
from slipway.serving.v2_rest import SERVER_EXTENSIONS, json_bytes_of, v2_error

MODEL = "/v2/models/{model}"
VERSION = f"{MODEL}/versions/{{version}}"


class V2RestSurface(RestSurface):
    """Inferences, and questions about the server and the nodes' models."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for path in ("/v2/models", MODEL, VERSION):
            router.add_post(f"{path}/infer", self.served("predictions", self._infer))
        for path in (MODEL, VERSION):
            router.add_get(path, self.served("metadata", self._model_metadata))
            router.add_get(f"{path}/ready", self.served("status", self._model_ready))
        router.add_get("/v2", self._server)
        router.add_get("/v2/health/live", self._live)
        router.add_get("/v2/health/ready", self._health)
        add_v2_docs(router, self.engine.graph.predictor)
        router.add_post("/api/v1.0/feedback", self.served("feedback", self.echo))

    def render_error(self, failure: Failure) -> Mapping[str, Any]:
        return v2_error(failure)

    async def _infer(self, request: web.Request, journey: Journey) -> Payload:
        json_bytes_of(request.headers)  # a header that is no number is the client's mistake
        if name := named_model(self.engine.graph, request.match_info.get("model", "")):
            journey.model = _versioned(name, request)
        return await self.predict(request, journey)

    async def _model_metadata(self, request: web.Request, journey: Journey) -> Payload:
        return await self._ask(request, journey, "")

    async def _model_ready(self, request: web.Request, journey: Journey) -> Payload:
        return await self._ask(request, journey, "ready")

    async def _ask(self, request: web.Request, journey: Journey, verb: str) -> Payload:
        name = checked_name(request.match_info["model"])
        node = node_of_model(self.engine.graph, name)
        path = model_path(_versioned(name, request), verb)
        return await self.fetch(request, node, path, journey, label=model_path(node.name, verb))

    async def _server(self, _request: web.Request) -> web.Response:
        told = {"name": "slipway", "version": slipway.__version__, "extensions": list(SERVER_EXTENSIONS)}
        return web.json_response(told)

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _health(self, request: web.Request) -> web.Response:
        found = await self.ready(request)
        found.body, found.content_type = dump_json({"ready": found.status == 200}), JSON
        return found


def _versioned(name: str, request: web.Request) -> str:
    version = request.match_info.get("version", "")
    return f"{name}/versions/{checked_name(version)}" if version else name
