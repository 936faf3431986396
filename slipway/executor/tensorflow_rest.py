"""The executor's REST surface, protocol tensorflow (contract §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from slipway.executor.models import checked_name, named_model, node_of_model
from slipway.executor.payload import Payload
from slipway.executor.rest_server import RestSurface
from slipway.executor.run import Journey
from slipway.executor.tensorflow import model_path
from slipway.serving.errors import Failure

MODEL = "/v1/models/{model}"
VERSION = f"{MODEL}/versions/{{version}}"


class TensorflowRestSurface(RestSurface):
    """Predictions, and the status and metadata of the nodes' models."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for path in (MODEL, VERSION, "/v1/models"):
            for separator in (":", "/:"):
                router.add_post(f"{path}{separator}predict", self.served("predictions", self._predict))
        for path in (MODEL, VERSION):
            router.add_get(path, self.served("status", self._status))
            router.add_get(f"{path}/metadata", self.served("metadata", self._metadata))
        router.add_post("/api/v1.0/feedback", self.served("feedback", self.echo))

    def render_error(self, failure: Failure) -> Mapping[str, Any]:
        """TensorFlow Serving's own form."""
        return {"error": failure.info}

    async def _predict(self, request: web.Request, journey: Journey) -> Payload:
        if name := named_model(self.engine.graph, request.match_info.get("model", "")):
            journey.model = _versioned(name, request)
        return await self.predict(request, journey)

    async def _status(self, request: web.Request, journey: Journey) -> Payload:
        return await self._ask(request, journey, "")

    async def _metadata(self, request: web.Request, journey: Journey) -> Payload:
        return await self._ask(request, journey, "/metadata")

    async def _ask(self, request: web.Request, journey: Journey, suffix: str) -> Payload:
        name = checked_name(request.match_info["model"])
        node = node_of_model(self.engine.graph, name)
        path = f"{model_path(_versioned(name, request))}{suffix}"
        return await self.fetch(request, node, path, journey, label=f"{model_path(node.name)}{suffix}")


def _versioned(name: str, request: web.Request) -> str:
    version = request.match_info.get("version", "")
    return f"{name}/versions/{checked_name(version)}" if version else name
