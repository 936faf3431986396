"""The real API of one machine and the controller's loop, with a registry that a test can turn off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from slipway.controller.keep import keep
from slipway.kube.client import Kube
from slipway.kube.kinds import DEPLOYMENT, EVENT, POD, SELDON_DEPLOYMENT
from slipway.kube.kubeconfig import Access
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.paths import Paths
from slipway.registry import RegistryAddress
from tests.contract.manifests import Manifest
from tests.controller.cases import SETTINGS
from tests.waiting import eventually

TOKEN = "t" * 32
NAMESPACE = "team"


@dataclass
class Registry:
    """Answers as MLflow does; ``is_away`` makes it 503. ``looks`` counts the looks at where aliases point.

    ``hangs``: no question but these looks is answered, until the test ends.
    """

    aliases: dict[str, str] = field(default_factory=lambda: {"champion": "1"})
    tags: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    hangs: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    looks: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("registered-models/get"):
            self.looks += 1
        else:
            self.asked.append(request.path.rpartition("/")[2])
            if self.hangs:
                await self.released.wait()
        if self.is_away:
            return web.json_response({"message": "maintenance"}, status=503)
        if request.method == "POST":
            return self._write(request.path, await request.json())
        if request.path.endswith("registered-models/get"):
            aliases = [{"alias": alias, "version": version} for alias, version in self.aliases.items()]
            tags = [{"key": key, "value": value} for key, value in self.tags.items()]
            return web.json_response({"registered_model": {"name": "shapes", "aliases": aliases, "tags": tags}})
        version = request.query.get("version") or self.aliases.get(request.query.get("alias", ""))
        if version is None:
            return web.json_response({"message": "alias not found"}, status=404)
        if request.path.endswith("get-download-uri"):
            return web.json_response({"artifact_uri": f"s3://models/shapes/{version}"})
        tags = [{"key": "slipway.digest", "value": f"sha256:{version * 64}"}]
        return web.json_response({"model_version": {"name": "shapes", "version": version, "tags": tags}})

    def _write(self, path: str, body: dict[str, str]) -> web.Response:
        if path.endswith("set-tag"):
            self.tags[body["key"]] = body["value"]
        else:
            self.aliases[body["alias"]] = body["version"]
        return web.json_response({})


@dataclass
class Platform:
    """What a person sees of it."""

    kube: Kube
    registry: Registry
    address: RegistryAddress
    restart: Callable[[], Any]
    stop: Callable[[], Any]

    async def apply(self, manifest: Manifest) -> dict[str, Any]:
        body = {**manifest, "metadata": {"name": manifest["metadata"]["name"], "namespace": NAMESPACE}}
        return await self.kube.apply(body, field_manager="person")

    async def status(self, name: str = "iris") -> dict[str, Any]:
        found = await self.kube.get(SELDON_DEPLOYMENT, name, namespace=NAMESPACE)
        status = found.get("status") or {}
        return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}

    async def until(self, predicate: Callable[[dict[str, Any]], Any], *, what: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            status = await self.status()
            return status if status and predicate(status) else None

        return await eventually(look, what=what)

    async def names(self, kind: Any) -> list[str]:
        return sorted(obj["metadata"]["name"] for obj in (await self.kube.list(kind, namespace=NAMESPACE)).items)

    async def events(self) -> dict[str, int]:
        """Count by reason."""
        found: dict[str, int] = {}
        for event in (await self.kube.list(EVENT, namespace=NAMESPACE)).items:
            found[event["reason"]] = found.get(event["reason"], 0) + event["count"]
        return found

    async def event(self, reason: str) -> dict[str, Any] | None:
        events = (await self.kube.list(EVENT, namespace=NAMESPACE)).items
        return next((event for event in events if event["reason"] == reason), None)

    async def make_ready(self, name: str) -> None:
        """Plays the runner: every replica of the Deployment is there."""
        deployment = await self.kube.get(DEPLOYMENT, name, namespace=NAMESPACE)
        count = deployment["spec"].get("replicas", 1)
        ready = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), count)
        status = {"observedGeneration": deployment["metadata"]["generation"], **ready}
        await self.kube.patch(
            DEPLOYMENT, name, {"status": status}, type="merge", namespace=NAMESPACE, subresource="status"
        )

    async def make_pod(self, name: str, *, ready: bool) -> None:
        """Plays the runner: a Pod of the Deployment ``name``."""
        template = (await self.kube.get(DEPLOYMENT, name, namespace=NAMESPACE))["spec"]["template"]
        meta = {"name": f"{name}-0", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
        await self.kube.apply(pod, field_manager="runner")
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        await self.kube.patch(
            POD, meta["name"], {"status": status}, type="merge", namespace=NAMESPACE, subresource="status"
        )


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    registry = Registry()
    mlflow_app = web.Application()
    mlflow_app.router.add_route("*", "/api/2.0/mlflow/{tail:.*}", registry.answer)
    parts = make_parts(Paths(tmp_path), admin_token=TOKEN)
    async with (
        TestServer(mlflow_app) as mlflow,
        TestServer(make_app(parts)) as api,
        Kube(Access(str(api.make_url("/")).rstrip("/"), token=TOKEN)) as kube,
    ):
        for name in (NAMESPACE, "slipway-system"):
            await kube.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="person"
            )
        address = RegistryAddress(str(mlflow.make_url("/")).rstrip("/"))
        loops: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

        async def restart() -> None:
            await end()
            stop = asyncio.Event()
            loops.append((stop, asyncio.create_task(keep(kube, SETTINGS, address, stop))))

        async def end() -> None:
            while loops:
                stop, task = loops.pop()
                stop.set()
                await task

        await restart()
        yield Platform(kube, registry, address, restart, end)
        registry.released.set()
        await end()
    parts.objects.store.close()
