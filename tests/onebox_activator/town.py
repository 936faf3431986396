"""Real Envoys, the real mesh, API and activator; a test plays the runner: it says which Pods are ready."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp.test_utils import TestServer

from slipway.contract.limits import MAX_BODY_BYTES
from slipway.contract.protos import prediction_pb2_grpc as pb_grpc
from slipway.kube.client import Kube
from slipway.kube.kinds import (
    DEPLOYMENT,
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    EVENT,
    GATEWAY,
    POD,
    SCALED_OBJECT,
    SERVICE,
    VIRTUAL_SERVICE,
    Kind,
)
from slipway.kube.kubeconfig import Access
from slipway.kube.reflector import Reflector
from slipway.onebox.activator.__main__ import FOLLOWED, activated
from slipway.onebox.activator.hold import Hold
from slipway.onebox.activator.view import View
from slipway.onebox.api.__main__ import make_parts
from slipway.onebox.api.server import make_app
from slipway.onebox.mesh.loop import run
from slipway.onebox.mesh.translate import Objects
from slipway.onebox.paths import Paths
from tests.onebox_mesh.envoys import Gateway, running_gateway
from tests.onebox_mesh.upstreams import Upstreams, running_upstreams
from tests.onebox_mesh.world import destination_rule, gateway, virtual_service
from tests.waiting import eventually

TOKEN = "t" * 32
NAME = "yolo-stable"
LOOKS = 10
"""Connections; the kernel deals them out to both gateways."""
PREDICTIONS = "/seldon/default/yolo/api/v1.0/predictions"
METADATA = (("seldon", "yolo"), ("namespace", "default"))
Reply = tuple[int, Any, Mapping[str, str]]
LARGE = (("grpc.max_send_message_length", 2 * MAX_BODY_BYTES), ("grpc.max_receive_message_length", -1))


@dataclass
class Town:
    """``yolo`` with a predictor for each upstream; those in ``sleepers`` have a ScaledObject."""

    kube: Kube
    hold: Hold
    gateway: Gateway
    upstreams: Upstreams
    client: aiohttp.ClientSession
    stub: Any

    async def put(self, kind: Kind, obj: Mapping[str, Any]) -> None:
        meta = {"namespace": "default", **obj["metadata"]}
        await self.kube.apply(
            {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}, field_manager="test"
        )

    async def set_ready(self, predictor: str, *, is_ready: bool) -> None:
        """The runner's part: the Pod and what its Services know of it."""
        await self.put(ENDPOINT_SLICE, self._slice(predictor, is_ready=is_ready))
        status = {"status": {"replicas": 1, "readyReplicas": 1 if is_ready else None}}
        name = f"yolo-{predictor}"
        await self.kube.patch(DEPLOYMENT, name, status, type="merge", namespace="default", subresource="status")

    async def set_pod(self, predictor: str, status: Mapping[str, Any]) -> None:
        name = f"yolo-{predictor}"
        body = {"status": dict(status)}
        await self.kube.patch(POD, f"{name}-0", body, type="merge", namespace="default", subresource="status")

    async def replicas(self, name: str = NAME) -> int:
        found = await self.kube.get(DEPLOYMENT, name, namespace="default")
        return int(found["spec"]["replicas"])

    async def generation(self, name: str = NAME) -> int:
        found = await self.kube.get(DEPLOYMENT, name, namespace="default")
        return int(found["metadata"]["generation"])

    async def is_served(self) -> bool:
        """By whichever gateway takes a connection."""
        for _ in range(LOOKS):
            async with aiohttp.ClientSession(base_url=self.gateway.url) as client:
                reply = await (await client.get("/slipway/deployments.json")).json()
                if not any(item["name"] == "yolo" and item["ready"] for item in reply["deployments"]):
                    return False
        return True

    async def reasons(self) -> list[str]:
        return [event["reason"] for event in (await self.kube.list(EVENT, namespace="default")).items]

    async def until_woken(self, name: str = NAME) -> None:
        async def woken() -> bool:
            return await self.replicas(name) > 0

        await eventually(woken, what=f"{name} woken")

    async def until_held(self, count: int, name: str = NAME) -> None:
        await eventually(lambda: self.hold.held.counts["default", name] == count, what=f"{count} held")

    async def post(self, body: bytes = b"{}", path: str = PREDICTIONS) -> Reply:
        async with self.client.post(path, data=io.BytesIO(body)) as reply:
            return reply.status, await reply.json(), reply.headers

    def _slice(self, predictor: str, *, is_ready: bool) -> dict[str, Any]:
        (member,) = self.upstreams.of(predictor)
        name = f"yolo-{predictor}"
        target = {"kind": "Pod", "namespace": "default", "name": f"{name}-0"}
        endpoint = {"addresses": [member.address], "conditions": {"ready": is_ready}, "targetRef": target}
        ports = [{"name": port, "port": number, "protocol": "TCP"} for port, number in self.upstreams.ports.items()]
        meta = {"name": f"{name}-x", "labels": {"kubernetes.io/service-name": name}}
        return {"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": [endpoint]}

    async def build(
        self,
        weights: Mapping[str, int],
        *,
        sleepers: Mapping[str, int],
        replicas: int,
        shadow: str = "",
        older: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """``sleepers``: predictor → cooldown in seconds."""
        for name in ("istio-system", "default"):
            await self.kube.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager="test"
            )
        for predictor in (*weights, *([shadow] if shadow else [])):
            await self._predictor(predictor, replicas=replicas if predictor in sleepers else 1)
            if predictor in sleepers:
                await self.put(SCALED_OBJECT, scaled_object(f"yolo-{predictor}", sleepers[predictor]))
            await self.set_ready(predictor, is_ready=bool(replicas) or predictor not in sleepers)
        await self.put(GATEWAY, gateway())
        for item in older:
            await self.put(VIRTUAL_SERVICE, item)
        await self.put(VIRTUAL_SERVICE, virtual_service(weights, shadow=(shadow, None) if shadow else None))

    async def _predictor(self, predictor: str, *, replicas: int) -> None:
        name = f"yolo-{predictor}"
        labels = {"app": name, "version": predictor}
        ports = [{"name": kind, "port": port, "protocol": "TCP"} for kind, port in (("http", 8000), ("grpc", 5001))]
        spec = {"containers": [{"name": "main", "image": "test/app:1"}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        selector = {"matchLabels": {"app": name}}
        deployment = {"replicas": replicas, "selector": selector, "template": template}
        await self.put(DEPLOYMENT, {"metadata": {"name": name}, "spec": deployment})
        await self.put(SERVICE, {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}})
        await self.put(DESTINATION_RULE, destination_rule(predictor))
        await self.put(POD, {"metadata": {"name": f"{name}-0", "labels": labels}, "spec": spec})


def scaled_object(name: str, cooldown_s: int) -> dict[str, Any]:
    spec = {
        "scaleTargetRef": {"name": name},
        "minReplicaCount": 0,
        "cooldownPeriod": cooldown_s,
        "triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "80"}}],
    }
    return {"metadata": {"name": name}, "spec": spec}


@asynccontextmanager
async def _holding(kube: Kube, running: Gateway, holds: bool) -> AsyncIterator[Hold]:
    if not holds:
        yield Hold(View(Reflector(kube, FOLLOWED)), lambda: None)
        return
    async with activated(kube, Reflector(kube, FOLLOWED), running.layout) as hold:
        yield hold


@asynccontextmanager
async def running_town(
    home: Path,
    weights: Mapping[str, int] | None = None,
    *,
    sleepers: Mapping[str, int] | None = None,
    replicas: int = 0,
    shadow: str = "",
    holds: bool = True,
    older: Sequence[Mapping[str, Any]] = (),
) -> AsyncIterator[Town]:
    """One sleeping predictor ``stable`` unless told otherwise. ``holds``: an activator runs in this process.

    ``older``: VirtualServices beside the one of ``yolo``.
    """
    weights = weights or {"stable": 100}
    parts = make_parts(Paths(home), admin_token=TOKEN)
    async with (
        TestServer(make_app(parts)) as api,
        Kube(Access(str(api.make_url("/")).rstrip("/"), token=TOKEN)) as kube,
        running_upstreams(**dict.fromkeys([*weights, *([shadow] if shadow else [])], 1)) as upstreams,
        running_gateway(home, Objects()) as gateway_,
        _holding(kube, gateway_, holds) as hold,
        aiohttp.ClientSession(base_url=gateway_.url) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{gateway_.site.port}", options=LARGE) as channel,
    ):
        mesh = asyncio.create_task(run(kube, Paths(home), gateway_.site))
        town = Town(kube, hold, gateway_, upstreams, client, pb_grpc.SeldonStub(channel))
        try:
            await town.build(
                weights, sleepers=sleepers or {"stable": 3600}, replicas=replicas, shadow=shadow, older=older
            )
            await eventually(town.is_served, what="the gateways have the routes")
            yield town
        finally:
            mesh.cancel()
            await asyncio.gather(mesh, return_exceptions=True)
