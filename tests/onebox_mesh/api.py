"""The list, watch and create of a Kubernetes API, from objects that a test holds: enough to feed the mesh process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from slipway.kube.kinds import (
    AUTHORIZATION_POLICY,
    DEPLOYMENT,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    GATEWAY,
    POD,
    REQUEST_AUTHENTICATION,
    SCALED_OBJECT,
    SECRET,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
)
from slipway.onebox.mesh.translate import Objects
from tests.ports import free_port


class Api:
    """``put`` makes a new version of an object and tells every watcher; ``events`` collects what was created."""

    def __init__(self, objects: Objects) -> None:
        self.version = 1
        self.events: list[dict[str, Any]] = []
        self._stored: dict[Kind, dict[str, dict[str, Any]]] = {}
        self._history: list[tuple[int, Kind, dict[str, Any]]] = []
        self._changed = asyncio.Condition()
        for kind, items in (
            (VIRTUAL_SERVICE, objects.virtual_services),
            (DESTINATION_RULE, objects.destination_rules),
            (GATEWAY, objects.gateways),
            (SERVICE, objects.services),
            (ENDPOINT_SLICE, objects.endpoint_slices),
            (POD, objects.pods),
            (DEPLOYMENT, objects.deployments),
            (SCALED_OBJECT, objects.scaled_objects),
            (REQUEST_AUTHENTICATION, objects.request_authentications),
            (AUTHORIZATION_POLICY, objects.authorization_policies),
            (SECRET, objects.secrets),
        ):
            self._stored[kind] = {item["metadata"]["name"]: _versioned(dict(item), 1) for item in items}

    async def put(self, kind: Kind, item: dict[str, Any]) -> None:
        async with self._changed:
            self.version += 1
            stored = _versioned(item, self.version)
            self._stored[kind][item["metadata"]["name"]] = stored
            self._history.append((self.version, kind, stored))
            self._changed.notify_all()

    def application(self) -> web.Application:
        application = web.Application()
        for kind in self._stored:
            application.router.add_get(kind.path(), partial(self._get, kind))
        application.router.add_post("/api/v1/namespaces/{namespace}/events", self._create_event)
        return application

    async def _create_event(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.json_response(self.events[-1], status=201)

    async def _get(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") != "true":
            items = list(self._stored[kind].values())
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        seen = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            async with self._changed:
                while self.version <= seen:
                    await self._changed.wait()
                news = [item for number, of, item in self._history if of is kind and number > seen]
                seen = self.version
            for item in news:
                await response.write(json.dumps({"type": "MODIFIED", "object": item}).encode() + b"\n")


def _versioned(item: dict[str, Any], version: int) -> dict[str, Any]:
    return {**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}}


@asynccontextmanager
async def running_api(objects: Objects, folder: Path) -> AsyncIterator[tuple[Api, Path]]:
    """The API and a kubeconfig for it."""
    api, port = Api(objects), free_port()
    runner = web.AppRunner(api.application(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    kubeconfig = folder / "kubeconfig"
    config = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
    }
    kubeconfig.write_text(json.dumps(config))
    try:
        yield api, kubeconfig
    finally:
        await runner.cleanup()
